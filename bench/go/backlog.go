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
	// How long the program works on the backlog, and how many handlers run at once.
	watched = 20 * time.Second
	atOnce  = 100
)

// A handler takes 10 ms. Memory is sampled ten times a second; `growth` compares the last quarter with the second.
func backlog(t task) (measurement, error) {
	var handled atomic.Int64
	free := make(chan struct{}, atOnce)
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
	var seen []float64
	for began := time.Now(); time.Since(began) < watched; {
		time.Sleep(100 * time.Millisecond)
		seen = append(seen, resident())
	}
	quarter := len(seen) / 4
	growth := median(seen[3*quarter:]) - median(seen[quarter:2*quarter])
	return measurement{
		"RSS, MiB":     slices.Max(seen),
		"growth, MiB":  growth,
		"handled, 1/s": float64(handled.Load()) / watched.Seconds(),
	}, nil
}

// The present resident set, MiB. If the system does not provide it, the largest so far.
func resident() float64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return mostResident()
	}
	pages, _ := strconv.Atoi(strings.Fields(string(text))[1])
	return float64(pages*os.Getpagesize()) / (1 << 20)
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
