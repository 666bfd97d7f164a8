package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const perSecond = 1_000

// Publishes at a steady rate as MiKa's users do: one call per record, with franz-go's default linger.
func latency(t task) (measurement, error) {
	waits := make([]float64, 0, t.Records)
	done := make(chan struct{})
	m, err := join(t, "", func(d *delivery) {
		sent, _ := strconv.ParseInt(string(d.Value), 10, 64)
		waits = append(waits, float64(time.Now().UnixNano()-sent)/1e6)
		d.ack()
		if len(waits) == t.Records {
			close(done)
		}
	})
	if err != nil {
		return nil, err
	}
	<-m.assigned
	publish := func() {
		value := strconv.AppendInt(nil, time.Now().UnixNano(), 10)
		if err := m.publish(&kgo.Record{Topic: t.Topic, Value: value}); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}
	publish()
	began := time.Now()
	for sent := 1; sent < t.Records; {
		due := min(t.Records, 1+int(time.Since(began)*perSecond/time.Second))
		for ; sent < due; sent++ {
			go publish()
		}
		time.Sleep(time.Millisecond)
	}
	select {
	case <-done:
	case err := <-m.stopped:
		return nil, err
	}
	slices.Sort(waits)
	at := func(share float64) float64 { return waits[int(float64(len(waits))*share)] }
	return measurement{"p50, ms": at(0.5), "p99, ms": at(0.99)}, m.close()
}
