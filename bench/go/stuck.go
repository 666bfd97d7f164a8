package main

import (
	"sync/atomic"
	"time"
)

// After this time without a record, delivery counts as stopped.
const standstill = 3 * time.Second

const partitions = 4

// Never settles the first record, and counts the records that are delivered nevertheless.
func stuck(t task) (measurement, error) {
	var own, others atomic.Int64
	if _, err := join(t, "", func(d *delivery) {
		switch {
		case d.Partition == 0 && d.Offset == 0:
			return
		case d.Partition == 0:
			own.Add(touchOnce(d.Value))
		default:
			others.Add(touchOnce(d.Value))
		}
		d.ack()
	}); err != nil {
		return nil, err
	}
	for before := int64(-1); own.Load()+others.Load() != before; {
		before = own.Load() + others.Load()
		time.Sleep(standstill)
	}
	return measurement{
		"other partitions, %": 100 * float64(others.Load()) / (float64(t.Records) * (1 - 1.0/partitions)),
		"own partition":       float64(own.Load()),
		"all partitions":      float64(own.Load() + others.Load()),
	}, nil
}

func touchOnce(value []byte) int64 {
	touched.Add(touch(value))
	return 1
}
