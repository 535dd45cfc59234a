// SPDX-License-Identifier: Apache-2.0

import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicInteger;

import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.common.message.MessageExt;

/** An administrator moves a group's offsets, with its consumers away and with one that is there. */
final class ResetCases {
	private static final int QUEUES = 4;

	static void addTo(Map<String, Interop.Case> all) {
		all.put("reset-offline", ResetCases::offline);
		all.put("reset-online", ResetCases::online);
	}

	private static DefaultMQPushConsumer consumer(World w, String group, String instance, String topic, World.Inbox inbox) throws Exception {
		DefaultMQPushConsumer c = w.pushConsumer(group, instance);

		c.subscribe(topic, "*");
		c.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
			messages.forEach(inbox::add);
			return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
		});
		c.start();
		return c;
	}

	private static void awaitNoLag(World w, String group, DefaultMQPushConsumer c) throws Exception {
		World.await("no lag of " + group, () -> {
			c.getDefaultMQPushConsumerImpl().persistConsumerOffset();
			return w.lag(group) == 0;
		});
	}

	private static void send(World w, String topic, String text, int count) throws Exception {
		for (int i = 0; i < count; i++)
			w.send(World.message(topic, "A", text + i), i % QUEUES);
		w.settle();
	}

	/** "0=3 1=3": the new offsets by queue. */
	private static String shown(Map<org.apache.rocketmq.common.message.MessageQueue, Long> table) {
		Map<Integer, Long> byQueue = new TreeMap<>();

		table.forEach((q, offset) -> byQueue.put(q.getQueueId(), offset));
		return byQueue.toString();
	}

	private static String committed(World w, String group, String topic) throws Exception {
		Map<Integer, Long> byQueue = new TreeMap<>();

		for (int q = 0; q < QUEUES; q++)
			byQueue.put(q, QueueCases.committed(w, group, w.queue(topic, q)));
		return byQueue.toString();
	}

	private static void offline(World w) throws Exception {
		String topic = w.topic("reset-offline", QUEUES);
		World.Inbox inbox = new World.Inbox();
		long middle;

		send(w, topic, "early ", 20);
		DefaultMQPushConsumer first = consumer(w, "reset-offline", "first", topic, inbox);
		World.await("20 messages", () -> inbox.distinct() == 20);
		awaitNoLag(w, "reset-offline", first);
		first.shutdown();
		/* The second half must be stored in a later millisecond. */
		middle = System.currentTimeMillis() + 1;
		World.await("the next millisecond", () -> System.currentTimeMillis() > middle);
		send(w, topic, "late ", 20);

		w.outcome("to the end " + shown(w.admin.resetOffsetByTimestamp(topic, w.name("reset-offline"), -1, true)));
		w.outcome("committed " + committed(w, "reset-offline", topic));
		/* What a member that did not hear of it yet commits does not undo it. */
		w.admin.updateConsumeOffset(w.broker, w.name("reset-offline"), w.queue(topic, 0), 5);
		w.outcome("still " + committed(w, "reset-offline", topic));
		w.outcome("to a time " + shown(w.admin.resetOffsetByTimestamp(topic, w.name("reset-offline"), middle, true)));
		w.outcomeOf("unknown group", () -> shown(w.admin.resetOffsetByTimestamp(topic, w.name("nobody"), 0, true)));
		w.outcomeOf("unknown topic", () -> shown(w.admin.resetOffsetByTimestamp(w.name("none"), w.name("reset-offline"), 0, true)));
		w.outcome("to the beginning " + shown(w.admin.resetOffsetByTimestamp(topic, w.name("reset-offline"), 0, true)));
		inbox.clear();
		DefaultMQPushConsumer second = consumer(w, "reset-offline", "second", topic, inbox);
		try {
			World.await("40 messages", () -> inbox.distinct() == 40);
			awaitNoLag(w, "reset-offline", second);
			w.outcome("then got " + inbox.distinct());
		} finally {
			second.shutdown();
		}
	}

	private static void online(World w) throws Exception {
		String topic = w.topic("reset-online", QUEUES);
		World.Inbox inbox = new World.Inbox();

		send(w, topic, "m", 20);
		DefaultMQPushConsumer c = consumer(w, "reset-online", "online", topic, inbox);
		try {
			World.await("20 messages", () -> inbox.distinct() == 20);
			awaitNoLag(w, "reset-online", c);
			inbox.clear();
			w.outcome("reset " + shown(w.admin.resetOffsetByTimestamp(topic, w.name("reset-online"), 0, true)));
			/* What is new wakes the pulls that wait: these hear of it, not after the long poll. */
			for (int q = 0; q < QUEUES; q++)
				w.send(World.message(topic, "A", "new " + q), q);
			World.await("24 messages", () -> {
				World.rebalance(c);
				return inbox.distinct() == 24;
			});
			awaitNoLag(w, "reset-online", c);
			w.outcome("got again " + inbox.distinct());
		} finally {
			c.shutdown();
		}
	}
}
