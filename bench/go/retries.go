package main

import (
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"
)

func (m *member) header(name string) string {
	return "mika_err_" + m.group + "_" + name
}

// The number of retries of the record so far, from its headers.
func (m *member) retries(r *kgo.Record) int {
	name := m.header("retries")
	for _, h := range r.Headers {
		if h.Key == name {
			count, _ := strconv.Atoi(string(h.Value))
			return count
		}
	}
	return 0
}

// The copy for the retry topic: the record with MiKa's three headers.
func (m *member) retried(r *kgo.Record, reason error) *kgo.Record {
	headers := append([]kgo.RecordHeader(nil), r.Headers...)
	headers = append(headers,
		kgo.RecordHeader{Key: m.header("org_topic"), Value: []byte(r.Topic)},
		kgo.RecordHeader{Key: m.header("msg"), Value: []byte(reason.Error())},
		kgo.RecordHeader{Key: m.header("retries"), Value: []byte(strconv.Itoa(m.retries(r) + 1))},
	)
	return &kgo.Record{Topic: m.retryTopic, Key: r.Key, Value: r.Value, Timestamp: r.Timestamp, Headers: headers}
}
