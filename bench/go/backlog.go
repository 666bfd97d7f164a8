package main

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// For how long the program works on the backlog, and how many handlers run at once.
	duration    = 20 * time.Second
	concurrency = 100
)

// A handler takes 10 ms. Memory is sampled ten times a second. `growth` is the median of the last quarter minus that of the second.
func backlog(t task) (measurement, error) {
	var handled atomic.Int64
	free := make(chan struct{}, concurrency)
	m, err := join(t, "", func(d *delivery) {
		free <- struct{}{}
		go func() {
			touched.Add(touch(d.Value))
			time.Sleep(10 * time.Millisecond)
			handled.Add(1)
			d.ack()
			<-free
		}()
	})
	if err != nil {
		return nil, err
	}
	<-m.assigned
	var samples []float64
	for began := time.Now(); time.Since(began) < duration; {
		time.Sleep(100 * time.Millisecond)
		samples = append(samples, resident())
	}
	quarter := len(samples) / 4
	growth := median(samples[3*quarter:]) - median(samples[quarter:2*quarter])
	return measurement{
		"RSS, MiB":     slices.Max(samples),
		"growth, MiB":  growth,
		"handled, 1/s": float64(handled.Load()) / duration.Seconds(),
	}, nil
}

// The current resident set, MiB. On systems without /proc, the largest so far.
func resident() float64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return peakResident()
	}
	pages, _ := strconv.Atoi(strings.Fields(string(text))[1])
	return float64(pages*os.Getpagesize()) / (1 << 20)
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
