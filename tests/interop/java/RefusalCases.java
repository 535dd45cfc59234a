// SPDX-License-Identifier: Apache-2.0

import java.util.Map;

import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.Message;

/** What a server refuses, with code and text. */
final class RefusalCases {
	static void addTo(Map<String, Interop.Case> all) {
		all.put("refuse-topic-name", RefusalCases::topicName);
		all.put("refuse-group-name", RefusalCases::groupName);
		all.put("refuse-too-big", RefusalCases::tooBig);
		all.put("refuse-unknown-topic", RefusalCases::unknownTopic);
		all.put("refuse-queue-id", RefusalCases::queueId);
		all.put("refuse-by-permission", RefusalCases::permission);
	}

	private static void topicName(World w) {
		for (String name : new String[] {"bad name", "TBW102", "x".repeat(128), ""}) {
			w.outcomeOf("create '" + name + "'", () -> {
				w.admin.createAndUpdateTopicConfig(w.broker, new TopicConfig(name, 4, 4, 6));
				return "accepted";
			});
			w.outcomeOf("send '" + name + "'",
					() -> w.producer.send(World.message(name, "A", "x")).getSendStatus());
		}
	}

	/** The client of 5.x knows the limit, 4.9 asks the broker. */
	private static void groupName(World w) {
		for (int n : new int[] {120, 121, 255, 256}) {
			DefaultMQPullConsumer c = new DefaultMQPullConsumer(w.longName("group-", n));

			c.setNamesrvAddr(w.namesrv);
			c.setInstanceName("group-name-" + n);
			w.outcomeOf("group of " + n, () -> {
				c.start();
				try {
					return c.pull(w.queue(w.topic("group-name", 1), 0), "*", 0, 1).getPullStatus();
				} finally {
					c.shutdown();
				}
			});
		}
	}

	private static void tooBig(World w) throws Exception {
		String topic = w.topic("big", 1);
		DefaultMQProducer p = w.producer("big");
		int limit = 4 << 20;

		p.setMaxMessageSize(8 << 20);
		p.setCompressMsgBodyOverHowmuch(Integer.MAX_VALUE);
		p.start();
		try {
			w.outcomeOf("body at the limit",
					() -> w.sent(p.send(new Message(topic, new byte[limit]), w.queue(topic, 0))).getSendStatus());
			w.outcomeOf("body above the limit",
					() -> p.send(new Message(topic, new byte[limit + 1]), w.queue(topic, 0)).getSendStatus());
			w.outcomeOf("properties above the limit", () -> {
				Message m = World.message(topic, "A", "x");

				m.putUserProperty("long", "v".repeat(32_768));
				return p.send(m, w.queue(topic, 0)).getSendStatus();
			});
		} finally {
			p.shutdown();
		}
		World.checkEqual(w.stored(topic, 1).get(0).size(), 1, "number of stored messages");
	}

	/** A template that the broker lacks is what a send meets where topics are not created automatically. */
	private static void unknownTopic(World w) throws Exception {
		DefaultMQProducer p = w.producer("no-template");
		String none = w.name("no-such-topic");

		p.setCreateTopicKey(w.name("no-such-template"));
		p.start();
		try {
			w.outcomeOf("send", () -> p.send(World.message(none, "A", "x")).getSendStatus());
			/* With a queue named, the client asks no route once it knows the broker. */
			w.sent(p.send(World.message(w.topic("known", 1), "A", "x")));
			w.outcomeOf("send to a queue", () -> p.send(World.message(none, "A", "x"), w.queue(none, 0)).getSendStatus());
		} finally {
			p.shutdown();
		}
		w.outcomeOf("route", () -> w.admin.examineTopicRouteInfo(none));
		w.outcomeOf("statistics", () -> w.admin.examineTopicStats(none));
	}

	private static void queueId(World w) throws Exception {
		String topic = w.topic("queue-id", 2);

		w.send(World.message(topic, "A", "x"), 0);
		w.outcomeOf("queue 2 of 2", () -> w.send(World.message(topic, "A", "x"), 2));
		w.outcomeOf("maximum of queue 2", () -> w.producer.maxOffset(w.queue(topic, 2)));
	}

	private static void permission(World w) throws Exception {
		String readOnly = w.topic("read-only", 2, 4);
		String writeOnly = w.topic("write-only", 2, 2);
		DefaultMQPullConsumer c = new DefaultMQPullConsumer(w.name("permission"));

		c.setNamesrvAddr(w.namesrv);
		c.setInstanceName("permission");
		c.start();
		try {
			w.outcomeOf("send to perm 4", () -> w.producer.send(World.message(readOnly, "A", "x")).getSendStatus());
			w.outcomeOf("send to perm 2", () -> w.producer.send(World.message(writeOnly, "A", "x")).getSendStatus());
			w.outcomeOf("pull from perm 4", () -> c.pull(w.queue(readOnly, 0), "*", 0, 1).getPullStatus());
			w.outcomeOf("pull from perm 2", () -> c.pull(w.queue(writeOnly, 0), "*", 0, 1).getPullStatus());
		} finally {
			c.shutdown();
		}
	}
}
