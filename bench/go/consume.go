package main

import (
	"errors"
	"sync/atomic"
	"time"
)

func consume(headers bool) func(task) (measurement, error) {
	return func(t task) (measurement, error) {
		counter := newMeter(t.Records)
		return counter.until(t, "", func(d *delivery) {
			if headers {
				for _, header := range d.Headers {
					touched.Add(touch(header.Value))
				}
			}
			counter.count(d.Value)
			d.ack()
		})
	}
}

// Prevents the compiler from removing the reads.
var touched atomic.Int64

// The same work as the other contenders: 1 ms, and 100 ms for one record in a hundred. One goroutine per record.
func slow(t task) (measurement, error) {
	counter := newMeter(t.Records)
	return counter.until(t, "", func(d *delivery) {
		go func() {
			wait := time.Millisecond
			if d.Offset%100 == 0 {
				wait = 100 * time.Millisecond
			}
			time.Sleep(wait)
			counter.count(d.Value)
			d.ack()
		}()
	})
}

// Each record fails once, in its own goroutine, and is acked when it is delivered from the retry topic.
func retry(t task) (measurement, error) {
	counter := newMeter(t.Records)
	reason := errors.New("not now")
	return counter.until(t, t.Scratch, func(d *delivery) {
		if d.member.retries(d.Record) == 0 {
			go d.fail(reason)
			return
		}
		counter.count(d.Value)
		d.ack()
	})
}

// Runs until the meter has counted all records, and all are committed.
func (counter *meter) until(t task, retryTopic string, handle func(*delivery)) (measurement, error) {
	m, err := join(t, retryTopic, handle)
	if err != nil {
		return nil, err
	}
	select {
	case <-m.assigned:
		counter.start()
	case err := <-m.stopped:
		return nil, err
	}
	select {
	case <-counter.done:
	case err := <-m.stopped:
		return nil, err
	}
	return counter.measurement(), m.close()
}
