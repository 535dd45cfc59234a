// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

type handler func(context.Context, *primitive.MessageExt) consumer.ConsumeResult

// lines collects what came, for handlers of several goroutines.
type lines struct {
	sync.Mutex
	list []string
}

func (l *lines) add(format string, args ...any) {
	l.Lock()
	defer l.Unlock()
	l.list = append(l.list, fmt.Sprintf(format, args...))
}

func (l *lines) all() []string {
	l.Lock()
	defer l.Unlock()
	return append([]string(nil), l.list...)
}

func (l *lines) wait(count int) error {
	for end := time.Now().Add(deadline); len(l.all()) < count; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("%d of %d messages after %s", len(l.all()), count, deadline)
		}
	}
	return nil
}

func sorted(list []string) string {
	sort.Strings(list)
	return strings.Join(list, "; ")
}

// properties are shown without what is another in each run.
func properties(m *primitive.MessageExt) string {
	var shown []string
	for name, value := range m.GetProperties() {
		switch name {
		case "UNIQ_KEY", "MIN_OFFSET", "MAX_OFFSET", "REAL_QID", "__transactionId__", "CONSUME_START_TIME":
			continue
		case "ORIGIN_MESSAGE_ID":
			value = "ID"
		}
		shown = append(shown, name+"="+value)
	}
	sort.Strings(shown)
	return strings.Join(shown, " ")
}

func (s servers) producer(group string, more ...producer.Option) (rocketmq.Producer, error) {
	p, err := rocketmq.NewProducer(append(more, producer.WithNsResolver(primitive.NewPassthroughResolver(s.namesrv)),
		producer.WithGroupName(s.prefix+"-"+group), producer.WithInstanceName(group))...)
	if err != nil {
		return nil, err
	}
	return p, p.Start()
}

// listen starts a consumer that hands messages to `take` one by one. Its retry topic should be there: the client looks again
// only after 30 s.
func (s servers) listen(group, topic string, take handler, more ...consumer.Option) (rocketmq.PushConsumer, error) {
	c, err := rocketmq.NewPushConsumer(append(more, consumer.WithNsResolver(primitive.NewPassthroughResolver(s.namesrv)),
		consumer.WithGroupName(s.prefix+"-"+group), consumer.WithInstance(group+"-consumer"),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset))...)
	if err != nil {
		return nil, err
	}
	handle := func(ctx context.Context, ms ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		result := consumer.ConsumeSuccess
		for _, m := range ms { // one: ConsumeMessageBatchMaxSize
			result = take(ctx, m)
		}
		return result, nil
	}
	if err := c.Subscribe(topic, consumer.MessageSelector{Type: consumer.TAG, Expression: "*"}, handle); err != nil {
		return nil, err
	}
	return c, c.Start()
}

// order sends with sharding keys: those of one key are in one queue, and an orderly consumer gets them in that order.
func (s servers) order() (string, error) {
	const steps = 25
	keys := []string{"one", "two", "three", "four"}
	topic := s.prefix + "-order"
	places := map[string]bool{}
	var got lines

	if err := s.createTopic(topic); err != nil {
		return "", err
	}
	p, err := s.producer("order", producer.WithQueueSelector(producer.NewHashQueueSelector()))
	if err != nil {
		return "", err
	}
	defer p.Shutdown()
	for step := 0; step < steps; step++ {
		for _, key := range keys {
			m := primitive.NewMessage(topic, []byte(fmt.Sprintf("%s %d", key, step)))
			r, err := p.SendSync(context.Background(), m.WithShardingKey(key))
			if err != nil {
				return "", err
			}
			places[fmt.Sprintf("%s@%d", key, r.MessageQueue.QueueId)] = true
		}
	}
	c, err := s.listen("order", topic, func(_ context.Context, m *primitive.MessageExt) consumer.ConsumeResult {
		got.add("%s", m.Body)
		return consumer.ConsumeSuccess
	}, consumer.WithConsumerOrder(true))
	if err != nil {
		return "", err
	}
	defer c.Shutdown()
	if err := got.wait(steps * len(keys)); err != nil {
		return "", err
	}
	next := map[string]int{}
	for _, text := range got.all() {
		var key string
		var step int
		if _, err := fmt.Sscanf(text, "%s %d", &key, &step); err != nil || step != next[key] {
			return "", fmt.Errorf("%q came as number %d of its key", text, next[key])
		}
		next[key]++
	}
	var where []string
	for place := range places {
		where = append(where, place)
	}
	return fmt.Sprintf("%s; in order %d", sorted(where), len(got.all())), nil
}

func (s servers) delay() (string, error) {
	topic := s.prefix + "-delay"
	var got lines

	if err := s.createTopic(topic); err != nil {
		return "", err
	}
	p, err := s.producer("delay")
	if err != nil {
		return "", err
	}
	defer p.Shutdown()
	for _, level := range []int{2, 1} {
		m := primitive.NewMessage(topic, []byte(fmt.Sprintf("level %d", level))).WithDelayTimeLevel(level)
		if _, err := p.SendSync(context.Background(), m); err != nil {
			return "", err
		}
	}
	c, err := s.listen("delay", topic, func(_ context.Context, m *primitive.MessageExt) consumer.ConsumeResult {
		waited := "early"
		if m.StoreTimestamp-m.BornTimestamp >= map[string]int64{"level 1": 1000, "level 2": 5000}[string(m.Body)] {
			waited = "in time"
		}
		got.add("%s %s: %s", m.Body, waited, properties(m))
		return consumer.ConsumeSuccess
	})
	if err != nil {
		return "", err
	}
	defer c.Shutdown()
	if err := got.wait(2); err != nil {
		return "", err
	}
	return strings.Join(got.all(), "; "), nil
}

// retry has one message fail twice, and one until it is a dead letter.
func (s servers) retry() (string, error) {
	topic, group := s.prefix+"-retry", "retry"
	var got, dead lines

	if err := s.createTopic(topic); err != nil {
		return "", err
	}
	p, err := s.producer(group)
	if err != nil {
		return "", err
	}
	defer p.Shutdown()
	c, err := s.listen(group, topic, func(_ context.Context, m *primitive.MessageExt) consumer.ConsumeResult {
		got.add("%s %d of %s: %s", m.Body, m.ReconsumeTimes, m.Topic, properties(m))
		if string(m.Body) == "hopeless" || m.ReconsumeTimes < 2 {
			return consumer.ConsumeRetryLater
		}
		return consumer.ConsumeSuccess
	}, consumer.WithMaxReconsumeTimes(3))
	if err != nil {
		return "", err
	}
	defer c.Shutdown()
	for _, text := range []string{"twice", "hopeless"} {
		m := primitive.NewMessage(topic, []byte(text)).WithKeys([]string{"key-of-" + text})
		if _, err := p.SendSync(context.Background(), m); err != nil {
			return "", err
		}
	}
	if err := got.wait(7); err != nil {
		return "", err
	}
	// Its topic came with the first dead letter, and an unknown topic ends the start.
	var d rocketmq.PushConsumer
	for end := time.Now().Add(deadline); ; time.Sleep(100 * time.Millisecond) {
		d, err = s.listen("dead", "%DLQ%"+s.prefix+"-"+group, func(_ context.Context, m *primitive.MessageExt) consumer.ConsumeResult {
			dead.add("%s %d: %s", m.Body, m.ReconsumeTimes, properties(m))
			return consumer.ConsumeSuccess
		})
		if err == nil {
			break
		}
		if time.Now().After(end) {
			return "", err
		}
	}
	defer d.Shutdown()
	if err := dead.wait(1); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s; dead %s", sorted(got.all()), sorted(dead.all())), nil
}

// undecided says nothing of a transaction until it is asked.
type undecided struct{}

func (undecided) ExecuteLocalTransaction(m *primitive.Message) primitive.LocalTransactionState {
	switch string(m.Body) {
	case "commit":
		return primitive.CommitMessageState
	case "rollback":
		return primitive.RollbackMessageState
	}
	return primitive.UnknowState
}

func (undecided) CheckLocalTransaction(m *primitive.MessageExt) primitive.LocalTransactionState {
	if string(m.Body) == "commit later" {
		return primitive.CommitMessageState
	}
	return primitive.RollbackMessageState
}

func (s servers) transaction() (string, error) {
	topic := s.prefix + "-transaction"
	var got lines

	if err := s.createTopic(topic); err != nil {
		return "", err
	}
	p, err := rocketmq.NewTransactionProducer(undecided{}, producer.WithNsResolver(primitive.NewPassthroughResolver(s.namesrv)),
		producer.WithGroupName(s.prefix+"-transaction"), producer.WithInstanceName("transaction"))
	if err != nil {
		return "", err
	}
	if err := p.Start(); err != nil {
		return "", err
	}
	defer p.Shutdown()
	for _, text := range []string{"rollback", "rollback later", "commit later", "commit"} {
		if _, err := p.SendMessageInTransaction(context.Background(), primitive.NewMessage(topic, []byte(text))); err != nil {
			return "", err
		}
	}
	c, err := s.listen("transaction", topic, func(_ context.Context, m *primitive.MessageExt) consumer.ConsumeResult {
		got.add("%s: %s", m.Body, properties(m))
		return consumer.ConsumeSuccess
	})
	if err != nil {
		return "", err
	}
	defer c.Shutdown()
	if err := got.wait(2); err != nil {
		return "", err
	}
	return strings.Join(got.all(), "; "), nil
}
