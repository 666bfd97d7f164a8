// A member of a consumer group that treats failed records as MiKa does. Tests use it to show that both can read each other's
// copies.
//
// MiKa's wire format is three headers, whose names contain the full name of the group: mika_err_{group}_org_topic,
// mika_err_{group}_retries and mika_err_{group}_msg. Its sources have these rules, and this program follows them:
//
//   - An existing header of the group is overwritten in its place, and a missing one is appended. If a name occurs several
//     times, the last one counts. All other headers, the key, the value and the timestamp are kept.
//   - org_topic and msg are written once, and only retries changes. So msg is the message of the first failure.
//   - A record on the retry or DLQ topic belongs to the group if it has org_topic. Records without it are skipped.
//   - A failed record goes to the retry topic while its count of retries is below its topic's, wherever it was read. After
//     that, or if its error is not retryable, it goes to the DLQ topic with its count unchanged.
//   - Records are polled again when all records of the last poll are completed. Then offsets are committed.
//
// One thing differs. MiKa (on franz-go 1.20.6) appends KAFKA_GLOBAL_SUFFIX twice to the names of its retry and DLQ topics when it
// publishes a copy, so no member reads the copy. This program appends it once.
//
// It reads commands as lines of JSON from its input, and writes events as lines of JSON to its output. Bytes are base64, or
// null if there are none.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

type command struct {
	Id int    `json:"id"`
	Do string `json:"do"`

	// start
	Brokers    []string `json:"brokers"`
	Group      string   `json:"group"`
	Suffix     string   `json:"suffix"`
	RetryTopic string   `json:"retryTopic"`
	DlqTopic   string   `json:"dlqTopic"`
	Topics     []topic  `json:"topics"`
	// Do not read the retry topic.
	PauseRetries bool `json:"pauseRetries"`

	// fail, and start: fails this many deliveries from now on, with this message
	Times     int    `json:"times"`
	Message   string `json:"message"`
	Retryable bool   `json:"retryable"`

	// produce
	Topic   string   `json:"topic"`
	Records []record `json:"records"`
}

type topic struct {
	Name    string `json:"name"`
	Retries int    `json:"retries"`
	Dlq     bool   `json:"dlq"`
}

type header struct {
	Name  []byte `json:"name"`
	Value []byte `json:"value"`
}

type record struct {
	Topic     string   `json:"topic"`
	Partition int32    `json:"partition"`
	Offset    int64    `json:"offset"`
	Timestamp int64    `json:"timestamp"`
	Key       []byte   `json:"key"`
	Value     []byte   `json:"value"`
	Headers   []header `json:"headers"`
}

type event struct {
	Reply int    `json:"reply,omitempty"`
	Type  string `json:"type"`
	Error string `json:"error,omitempty"`
	// Where the record was first published, as MiKa understands its headers, and its count of retries.
	OriginalTopic string `json:"originalTopic,omitempty"`
	Retries       int    `json:"retries"`
	// acked, retried or dead-lettered
	Outcome string  `json:"outcome,omitempty"`
	Record  *record `json:"record,omitempty"`
}

var (
	output     = json.NewEncoder(os.Stdout)
	outputLock sync.Mutex
)

func tell(e event) {
	outputLock.Lock()
	defer outputLock.Unlock()
	if err := output.Encode(e); err != nil {
		os.Exit(1)
	}
}

type member struct {
	client     *kgo.Client
	group      string
	retryTopic string
	dlqTopic   string
	topics     map[string]topic
	stop       context.CancelFunc
	stopped    chan struct{}

	lock      sync.Mutex
	times     int
	message   string
	retryable bool
}

func main() {
	var m *member
	lines := bufio.NewReaderSize(os.Stdin, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return // the test has ended
		}
		var c command
		if err := json.Unmarshal(line, &c); err != nil {
			tell(event{Type: "error", Error: err.Error()})
			continue
		}
		answer := event{Reply: c.Id, Type: "done"}
		if err := run(&m, c); err != nil {
			answer.Error = err.Error()
		}
		tell(answer)
	}
}

func run(m **member, c command) (err error) {
	switch c.Do {
	case "start":
		*m, err = start(c)
	case "fail":
		(*m).fail(c)
	case "produce":
		err = (*m).produce(c)
	case "dlq":
		(*m).client.AddConsumeTopics((*m).dlqTopic)
	case "stop":
		(*m).stop()
		<-(*m).stopped
		(*m).client.Close()
	default:
		err = fmt.Errorf("there is no command %q", c.Do)
	}
	return
}

func start(c command) (*member, error) {
	full := func(name string) string { return name + c.Suffix }
	m := &member{
		group:      full(c.Group),
		retryTopic: full(c.RetryTopic),
		dlqTopic:   full(c.DlqTopic),
		topics:     make(map[string]topic),
		stopped:    make(chan struct{}),
	}
	m.fail(c)
	consumed := []string{m.retryTopic}
	for _, t := range c.Topics {
		t.Name = full(t.Name)
		m.topics[t.Name] = t
		consumed = append(consumed, t.Name)
	}
	// The defaults, as MiKa leaves them: snappy, an idempotent producer, cooperative rebalances.
	client, err := kgo.NewClient(
		kgo.SeedBrokers(c.Brokers...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.ConsumeTopics(consumed...),
		kgo.ConsumerGroup(m.group),
		kgo.FetchMaxWait(200*time.Millisecond),
		kgo.OnPartitionsAssigned(func(context.Context, *kgo.Client, map[string][]int32) {
			tell(event{Type: "assigned"})
		}),
	)
	if err != nil {
		return nil, err
	}
	if c.PauseRetries {
		client.PauseFetchTopics(m.retryTopic)
	}
	m.client = client
	ctx, cancel := context.WithCancel(context.Background())
	m.stop = cancel
	go m.consume(ctx)
	return m, nil
}

func (m *member) consume(ctx context.Context) {
	defer close(m.stopped)
	for ctx.Err() == nil {
		fetches := m.client.PollFetches(ctx)
		if errors.Is(fetches.Err0(), context.Canceled) {
			return
		}
		fetches.EachError(func(topic string, partition int32, err error) {
			tell(event{Type: "error", Error: fmt.Sprintf("fetching %s/%d: %v", topic, partition, err)})
		})
		if fetches.NumRecords() == 0 {
			continue
		}
		fetches.EachRecord(m.process)
		if err := m.client.CommitUncommittedOffsets(context.Background()); err != nil {
			tell(event{Type: "error", Error: fmt.Sprintf("committing: %v", err)})
			continue
		}
		tell(event{Type: "committed"})
	}
}

func (m *member) process(r *kgo.Record) {
	seen := shown(r)
	state := m.stateOf(r)
	t, registered := m.topics[r.Topic]
	if !registered {
		if !state.owned {
			tell(event{Type: "skipped", Record: seen})
			return
		}
		if t, registered = m.topics[state.originalTopic]; !registered {
			tell(event{Type: "error", Error: fmt.Sprintf("nobody consumes %q", state.originalTopic), Record: seen})
			return
		}
	}
	if state.err != nil {
		tell(event{Type: "error", Error: state.err.Error(), Record: seen})
		return
	}
	e := event{Type: "delivered", OriginalTopic: state.originalTopic, Retries: state.retries, Record: seen}
	var err error
	if failing, message, retryable := m.failing(); failing {
		e.Outcome, err = m.route(r, state, t, message, retryable)
	} else {
		e.Outcome = "acked"
	}
	if err != nil {
		e.Type, e.Error = "error", err.Error()
	}
	tell(e)
}

func (m *member) route(r *kgo.Record, s state, t topic, message string, retryable bool) (string, error) {
	retrying := retryable && s.retries < t.Retries
	if !retrying && !t.Dlq {
		return "", fmt.Errorf("no DLQ for %s", t.Name)
	}
	retries := s.retries
	if retrying {
		retries++
	}
	own := newHeaders(r)
	own.setOnce(m.name("org_topic"), r.Topic)
	own.setOnce(m.name("msg"), message)
	own.set(m.name("retries"), strconv.Itoa(retries))
	duplicate := *r
	outcome := "retried"
	duplicate.Topic = m.retryTopic
	if !retrying {
		outcome = "dead-lettered"
		duplicate.Topic = m.dlqTopic
	}
	return outcome, m.client.ProduceSync(context.Background(), &duplicate).FirstErr()
}

func (m *member) fail(c command) {
	m.lock.Lock()
	defer m.lock.Unlock()
	m.times, m.message, m.retryable = c.Times, c.Message, c.Retryable
}

func (m *member) failing() (bool, string, bool) {
	m.lock.Lock()
	defer m.lock.Unlock()
	if m.times == 0 {
		return false, "", false
	}
	m.times--
	return true, m.message, m.retryable
}

func (m *member) produce(c command) error {
	var records []*kgo.Record
	for _, r := range c.Records {
		record := &kgo.Record{Topic: c.Topic, Key: r.Key, Value: r.Value, Timestamp: time.UnixMilli(r.Timestamp)}
		for _, h := range r.Headers {
			record.Headers = append(record.Headers, kgo.RecordHeader{Key: string(h.Name), Value: h.Value})
		}
		records = append(records, record)
	}
	return m.client.ProduceSync(context.Background(), records...).FirstErr()
}

func (m *member) name(field string) string {
	return fmt.Sprintf("mika_err_%s_%s", m.group, field)
}

// The group's headers of a record, with defaults for missing ones.
type state struct {
	owned         bool
	originalTopic string
	retries       int
	err           error
}

func (m *member) stateOf(r *kgo.Record) state {
	own := newHeaders(r)
	s := state{originalTopic: r.Topic}
	if topic, ok := own.get(m.name("org_topic")); ok {
		s.owned, s.originalTopic = true, topic
	}
	if retries, ok := own.get(m.name("retries")); ok {
		s.retries, s.err = strconv.Atoi(retries)
	}
	return s
}

type headers struct {
	record *kgo.Record
	last   map[string]int
}

func newHeaders(r *kgo.Record) headers {
	h := headers{r, make(map[string]int)}
	for at, header := range r.Headers {
		h.last[header.Key] = at
	}
	return h
}

func (h headers) get(name string) (string, bool) {
	at, ok := h.last[name]
	if !ok {
		return "", false
	}
	return string(h.record.Headers[at].Value), true
}

func (h headers) set(name, value string) {
	if at, ok := h.last[name]; ok {
		h.record.Headers[at].Value = []byte(value)
		return
	}
	h.last[name] = len(h.record.Headers)
	h.record.Headers = append(h.record.Headers, kgo.RecordHeader{Key: name, Value: []byte(value)})
}

func (h headers) setOnce(name, value string) {
	if _, ok := h.last[name]; !ok {
		h.set(name, value)
	}
}

func shown(r *kgo.Record) *record {
	seen := &record{
		Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Timestamp: r.Timestamp.UnixMilli(),
		Key: r.Key, Value: r.Value, Headers: []header{},
	}
	for _, h := range r.Headers {
		seen.Headers = append(seen.Headers, header{Name: []byte(h.Key), Value: h.Value})
	}
	return seen
}
