package main

import (
	"errors"
	"sync/atomic"
	"time"
)

func consume(headers bool) func(task) (measurement, error) {
	return func(t task) (measurement, error) {
		seen := newMeter(t.Records)
		return seen.until(t, "", func(d *delivery) {
			if headers {
				for _, header := range d.Headers {
					touched.Add(touch(header.Value))
				}
			}
			seen.see(d.Value)
			d.ack()
		})
	}
}

// So that reading is not compiled away.
var touched atomic.Int64

// The same work as elsewhere: 1 ms, and for one record in a hundred 100 ms; a goroutine a record.
func slow(t task) (measurement, error) {
	seen := newMeter(t.Records)
	return seen.until(t, "", func(d *delivery) {
		go func() {
			wait := time.Millisecond
			if d.Offset%100 == 0 {
				wait = 100 * time.Millisecond
			}
			time.Sleep(wait)
			seen.see(d.Value)
			d.ack()
		}()
	})
}

// Each record fails once, in a goroutine of its own, and is acked when it comes back.
func retry(t task) (measurement, error) {
	seen := newMeter(t.Records)
	reason := errors.New("not now")
	return seen.until(t, t.Scratch, func(d *delivery) {
		if d.member.retries(d.Record) == 0 {
			go d.fail(reason)
			return
		}
		seen.see(d.Value)
		d.ack()
	})
}

// Until the meter has seen everything, and all of it is committed.
func (seen *meter) until(t task, retryTopic string, handle func(*delivery)) (measurement, error) {
	m, err := join(t, retryTopic, handle)
	if err != nil {
		return nil, err
	}
	select {
	case <-m.assigned:
		seen.start()
	case err := <-m.stopped:
		return nil, err
	}
	select {
	case <-seen.done:
	case err := <-m.stopped:
		return nil, err
	}
	return seen.measurement(), m.close()
}
