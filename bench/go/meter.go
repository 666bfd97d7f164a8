package main

import (
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Counts records and reads from each value. One clock starts when the member is assigned its partitions, one with the first record.
type meter struct {
	records int64
	counted atomic.Int64
	bytes   atomic.Int64
	once    sync.Once
	began   time.Time
	first   time.Time
	ended   time.Time
	done    chan struct{}
}

func newMeter(records int) *meter {
	return &meter{records: int64(records), done: make(chan struct{})}
}

func (m *meter) start() {
	m.once.Do(func() { m.began = time.Now() })
}

func (m *meter) count(value []byte) {
	m.start()
	m.bytes.Add(touch(value))
	counted := m.counted.Add(1)
	if counted == 1 {
		m.first = time.Now()
	}
	if counted == m.records {
		m.ended = time.Now()
		close(m.done)
	}
}

func touch(value []byte) int64 {
	if len(value) == 0 {
		return 0
	}
	return int64(len(value)) + int64(value[0])
}

func (m *meter) measurement() measurement {
	perSecond := func(since time.Time) float64 { return float64(m.records) / m.ended.Sub(since).Seconds() / 1_000 }
	return measurement{
		"1000/s":                       perSecond(m.began),
		"1000/s from the first record": perSecond(m.first),
		"RSS, MiB":                     peakResident(),
	}
}

// The largest resident set so far, MiB.
func peakResident() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	if runtime.GOOS == "darwin" {
		return float64(usage.Maxrss) / (1 << 20)
	}
	return float64(usage.Maxrss) / (1 << 10)
}
