package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
)

// One delivery of a record. Only the first settlement counts.
type delivery struct {
	*kgo.Record
	member  *member
	poll    *sync.WaitGroup
	settled atomic.Bool
}

func (d *delivery) ack() {
	if d.settled.CompareAndSwap(false, true) {
		d.poll.Done()
	}
}

// Completes the record once its copy on the retry topic is acknowledged.
func (d *delivery) fail(reason error) {
	if !d.settled.CompareAndSwap(false, true) {
		return
	}
	if err := d.member.publish(d.member.retried(d.Record, reason)); err != nil {
		// The poll must never complete, so that the record is not lost.
		fmt.Fprintln(os.Stderr, "cannot write to the retry topic:", err)
		return
	}
	d.poll.Done()
}

// A member of a group, and its handler.
type member struct {
	client     *kgo.Client
	group      string
	retryTopic string
	handle     func(*delivery)
	assigned   chan struct{}
	stop       context.CancelFunc
	stopped    chan error
}

func join(t task, retryTopic string, handle func(*delivery)) (*member, error) {
	m := &member{
		group:      t.Group,
		retryTopic: retryTopic,
		handle:     handle,
		assigned:   make(chan struct{}),
		stopped:    make(chan error, 1),
	}
	topics := []string{t.Topic}
	if retryTopic != "" {
		topics = append(topics, retryTopic)
	}
	var once sync.Once
	client, err := kgo.NewClient(
		kgo.SeedBrokers(t.Brokers...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.ConsumeTopics(topics...),
		kgo.ConsumerGroup(t.Group),
		kgo.OnPartitionsAssigned(func(context.Context, *kgo.Client, map[string][]int32) {
			once.Do(func() { close(m.assigned) })
		}),
	)
	if err != nil {
		return nil, err
	}
	m.client = client
	ctx, cancel := context.WithCancel(context.Background())
	m.stop = cancel
	go func() { m.stopped <- m.consume(ctx) }()
	return m, nil
}

func (m *member) consume(ctx context.Context) error {
	for {
		fetches := m.client.PollFetches(ctx)
		if errors.Is(fetches.Err0(), context.Canceled) {
			return nil
		}
		if err := fetches.Err(); err != nil {
			return err
		}
		var poll sync.WaitGroup
		fetches.EachRecord(func(r *kgo.Record) {
			poll.Add(1)
			m.handle(&delivery{Record: r, member: m, poll: &poll})
		})
		poll.Wait()
		if err := m.client.CommitUncommittedOffsets(context.Background()); err != nil {
			return err
		}
	}
}

func (m *member) publish(r *kgo.Record) error {
	return m.client.ProduceSync(context.Background(), r).FirstErr()
}

// Waits until the current poll is completed and committed, then leaves the group.
func (m *member) close() error {
	m.stop()
	err := <-m.stopped
	m.client.Close()
	return err
}
