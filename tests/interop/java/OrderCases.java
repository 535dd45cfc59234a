// SPDX-License-Identifier: Apache-2.0

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;

import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.impl.factory.MQClientInstance;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.selector.SelectMessageQueueByHash;
import org.apache.rocketmq.common.message.MessageQueue;

/** Messages in order: locks and who inherits them, queues that wait, and which queues producers use. */
final class OrderCases {
	/** Where the NameServer keeps which queues of ordered topics producers use. */
	private static final String ORDER_TOPICS = "ORDER_TOPIC_CONFIG";

	static void addTo(Map<String, Interop.Case> all) {
		all.put("order-owner-gone", (Interop.Aside) OrderCases::ownerGone);
		all.put("order-locks", OrderCases::locks);
		all.put("order-suspend", OrderCases::suspend);
		all.put("order-heir", OrderCases::heir);
		all.put("order-selector", OrderCases::selector);
		all.put("order-conf", (Interop.Aside) OrderCases::conf);
	}

	private static DefaultMQPushConsumer member(World w, String group, String instance, String topic, MessageListenerOrderly listener)
			throws Exception {
		DefaultMQPushConsumer c = w.pushConsumer(group, instance);

		c.subscribe(topic, "*");
		c.registerMessageListener(listener);
		c.start();
		return c;
	}

	/** The client waits a second for an answer, and takes none for a refusal: an answer that was late is asked for again. */
	private static boolean isInTime(long start) {
		return System.nanoTime() - start < 1_000_000_000L;
	}

	private static boolean lock(DefaultMQPushConsumer c, MessageQueue q) throws Exception {
		boolean[] isLocked = {false};

		World.await("an answer in time", () -> {
			long start = System.nanoTime();

			isLocked[0] = c.getDefaultMQPushConsumerImpl().getRebalanceImpl().lock(q);
			return isLocked[0] || isInTime(start);
		});
		return isLocked[0];
	}

	private static void unlock(DefaultMQPushConsumer c, MessageQueue q) throws Exception {
		World.await("an answer in time", () -> {
			long start = System.nanoTime();

			c.getDefaultMQPushConsumerImpl().getRebalanceImpl().unlock(q, false);
			return isInTime(start);
		});
	}

	/** A queue is locked for one client of a group, until that client gives it back. */
	private static void locks(World w) throws Exception {
		String topic = w.topic("order-locks", 1);
		MessageQueue q = w.queue(w.name("order-locks-no-topic"), 3);
		MessageListenerOrderly none = (messages, context) -> ConsumeOrderlyStatus.SUCCESS;
		DefaultMQPushConsumer a = member(w, "order-locks", "locks-a", topic, none);
		DefaultMQPushConsumer b = member(w, "order-locks", "locks-b", topic, none);
		DefaultMQPushConsumer other = member(w, "order-locks-2", "locks-c", topic, none);

		try {
			w.outcome("a " + lock(a, q) + ", b " + lock(b, q) + ", a again " + lock(a, q) + ", another group " + lock(other, q)
					+ ", another queue by b " + lock(b, w.queue(q.getTopic(), 2)));
			unlock(b, q);
			w.outcome("given back by b: b " + lock(b, q));
			unlock(a, q);
			w.outcome("given back by a: b " + lock(b, q) + ", a " + lock(a, q));
		} finally {
			a.shutdown();
			b.shutdown();
			other.shutdown();
		}
	}

	/** The connections of a client close without a word of goodbye: its locks stay until they expire, 60 s after the last call. */
	private static void ownerGone(World w) throws Exception {
		String topic = w.topic("order-gone", PushCases.QUEUES);
		PushCases.OrderCheck order = new PushCases.OrderCheck();
		DefaultMQPushConsumer[] members = {member(w, "order-gone", "gone-0", topic, order), member(w, "order-gone", "gone-1", topic, order)};
		var client = members[1].getDefaultMQPushConsumerImpl().getmQClientFactory();

		try {
			PushCases.awaitShares(topic, 4, members);
			for (int i = 0; i < 80; i++)
				w.send(World.message(topic, "A", "" + i / PushCases.QUEUES), i % PushCases.QUEUES);
			order.awaitPerQueue(topic, 80 / PushCases.QUEUES);
			World.await("the offsets", () -> {
				for (DefaultMQPushConsumer c : members)
					c.getDefaultMQPushConsumerImpl().persistConsumerOffset();
				return w.lag("order-gone") == 0;
			});
			members[0].getDefaultMQPushConsumerImpl().getmQClientFactory().getMQClientAPIImpl().shutdown();
			World.await("the broker's notice", () -> client.findConsumerIdList(topic, w.name("order-gone")).size() == 1);
			members[1].getDefaultMQPushConsumerImpl().doRebalance();
			w.outcome("the owner is gone: the other has " + PushCases.shareOf(members[1], topic) + " of 8");
			for (int i = 80; i < 160; i++)
				w.send(World.message(topic, "A", "" + i / PushCases.QUEUES), i % PushCases.QUEUES);
			World.await("all queues at the other", 120_000, () -> {
				World.rebalance(members[1]);
				return PushCases.shareOf(members[1], topic) == PushCases.QUEUES;
			});
			order.awaitPerQueue(topic, 160 / PushCases.QUEUES);
			w.outcome("then all, in order " + order.total.get());
		} finally {
			members[1].shutdown();
		}
	}

	/** A message that asks for a moment holds up its own queue and no other. */
	private static void suspend(World w) throws Exception {
		String topic = w.topic("order-suspend", 2);
		Map<Integer, List<String>> came = new ConcurrentHashMap<>();
		for (int i = 0; i < 3; i++)
			for (int q = 0; q < 2; q++)
				w.send(World.message(topic, "A", "m" + i), q);
		DefaultMQPushConsumer c = member(w, "order-suspend", "suspend", topic, (messages, context) -> {
			var m = messages.get(0);
			boolean waits = m.getQueueId() == 0 && World.text(m).equals("m1") && m.getReconsumeTimes() < 3;

			came.computeIfAbsent(m.getQueueId(), q -> new ArrayList<>()).add(World.text(m) + " times " + m.getReconsumeTimes());
			/* The suspended queue goes on when the other one is through. */
			if (waits && m.getReconsumeTimes() == 2 && came.getOrDefault(1, List.of()).size() < 3) {
				came.get(0).remove(3);
				context.setSuspendCurrentQueueTimeMillis(10);
				m.setReconsumeTimes(1);
				return ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT;
			}
			context.setSuspendCurrentQueueTimeMillis(50);
			return waits ? ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT : ConsumeOrderlyStatus.SUCCESS;
		});
		try {
			World.await("all messages", () -> {
				World.rebalance(c); /* when a lock's answer was late */
				return came.getOrDefault(0, List.of()).contains("m2 times 0") && came.getOrDefault(1, List.of()).size() == 3;
			});
			w.outcome("queue 0 " + came.get(0));
			w.outcome("queue 1 " + came.get(1));
		} finally {
			c.shutdown();
		}
	}

	/** The member that holds a queue at a message leaves: the other goes on at exactly this message. */
	private static void heir(World w) throws Exception {
		String topic = w.topic("order-heir", 2);
		List<List<String>> came = List.of(new ArrayList<>(), new ArrayList<>());
		DefaultMQPushConsumer[] members = new DefaultMQPushConsumer[2];
		boolean[] is_heir = new boolean[2];
		int owner;

		for (int i = 0; i < 2; i++) {
			int self = i;

			members[i] = member(w, "order-heir", "heir-" + i, topic, (messages, context) -> {
				var m = messages.get(0);

				if (m.getQueueId() != 0)
					return ConsumeOrderlyStatus.SUCCESS;
				synchronized (came) {
					came.get(self).add(World.text(m));
					context.setSuspendCurrentQueueTimeMillis(50);
					return World.text(m).equals("m2") && !is_heir[self] ? ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT
							: ConsumeOrderlyStatus.SUCCESS;
				}
			});
		}
		try {
			PushCases.awaitShares(topic, 1, members);
			for (int i = 0; i < 5; i++)
				w.send(World.message(topic, "A", "m" + i), 0);
			World.await("the message that waits", () -> {
				synchronized (came) {
					return came.get(0).size() >= 5 || came.get(1).size() >= 5;
				}
			});
			synchronized (came) {
				owner = came.get(0).isEmpty() ? 1 : 0;
				is_heir[1 - owner] = true;
			}
			/* What it says as it leaves, one-way, may come after the heir's question where to begin. */
			DefaultMQPushConsumer leaves = members[owner];
			World.await("the offset", () -> {
				leaves.getDefaultMQPushConsumerImpl().persistConsumerOffset();
				return QueueCases.committed(w, "order-heir", w.queue(topic, 0)) == 2;
			});
			leaves.shutdown();
			/* Who shuts down gives its locks back, but what is still to run may take one again: then it holds for 60 s. */
			World.await("the rest at the other", 120_000, () -> {
				World.rebalance(members[1 - owner]);
				synchronized (came) {
					return came.get(1 - owner).contains("m4");
				}
			});
			synchronized (came) {
				w.outcome("first " + new TreeSet<>(came.get(owner)) + ", then " + came.get(1 - owner));
			}
		} finally {
			members[0].shutdown();
			members[1].shutdown();
		}
	}

	/** What belongs together is sent to one queue, and comes in order, whoever of the members gets it. */
	private static void selector(World w) throws Exception {
		String topic = w.topic("order-selector", 4);
		Map<String, List<String>> came = new ConcurrentHashMap<>();
		List<DefaultMQPushConsumer> members = new ArrayList<>();
		List<String> wanted = new ArrayList<>();

		for (int i = 0; i < 2; i++)
			members.add(member(w, "order-selector", "selector-" + i, topic, (messages, context) -> {
				messages.forEach(m -> came.computeIfAbsent(m.getKeys(), k -> new ArrayList<>()).add(World.text(m)));
				return ConsumeOrderlyStatus.SUCCESS;
			}));
		try {
			PushCases.awaitShares(topic, 2, members.toArray(new DefaultMQPushConsumer[0]));
			for (int step = 0; step < 12; step++) {
				wanted.add("step " + step);
				for (int order = 0; order < 10; order++) {
					var m = World.message(topic, "A", "step " + step);

					m.setKeys("order-" + order);
					w.sent(w.producer.send(m, new SelectMessageQueueByHash(), "order-" + order));
				}
			}
			World.await("120 steps", () -> came.values().stream().mapToInt(List::size).sum() >= 120);
			came.forEach((order, steps) -> World.checkEqual(steps, wanted, "steps of " + order));
			w.outcome(came.size() + " orders of " + wanted.size() + " steps each");
		} finally {
			members.forEach(DefaultMQPushConsumer::shutdown);
		}
	}

	private static List<Integer> ids(Iterable<MessageQueue> queues) {
		TreeSet<Integer> ids = new TreeSet<>();

		queues.forEach(q -> ids.add(q.getQueueId()));
		return new ArrayList<>(ids);
	}

	/** Waits until a producer that is running has sent 20 messages in a row to just these queues, and to each of them. */
	private static void awaitQueues(World w, DefaultMQProducer p, String topic, List<Integer> wanted) throws Exception {
		List<Integer> last = new ArrayList<>();

		World.await("sends to queues " + wanted, () -> {
			try {
				last.add(w.sent(p.send(World.message(topic, "A", "m"))).getMessageQueue().getQueueId());
			} catch (MQBrokerException e) {
				return false; /* by the route before this one, to a queue that is not there */
			}
			return last.size() >= 20 && wanted.equals(new ArrayList<>(new TreeSet<>(last.subList(last.size() - 20, last.size()))));
		});
	}

	/** An order configuration at the NameServer says which queues producers use; consumers use all. */
	private static void conf(World w) throws Exception {
		String topic = w.topic("order-conf", 4);
		DefaultMQProducer p = w.producer("order-conf");

		p.setPollNameServerInterval(500);
		p.start();
		try {
			awaitQueues(w, p, topic, List.of(0, 1, 2, 3));
			w.admin.createOrUpdateOrderConf(topic, w.brokerName + ":2", true);
			w.outcome("kept " + w.admin.getKVConfig(ORDER_TOPICS, topic));
			w.outcome("route says " + w.admin.examineTopicRouteInfo(topic).getOrderTopicConf());
			awaitQueues(w, p, topic, List.of(0, 1));
			w.outcome("producers use " + ids(p.fetchPublishMessageQueues(topic)) + ", consumers "
					+ ids(MQClientInstance.topicRouteData2TopicSubscribeInfo(topic, w.admin.examineTopicRouteInfo(topic))));

			/* The broker hears of it when it registers the next time, and marks the topic. */
			World.await("the mark of the broker", 90_000, () -> w.admin.examineTopicConfig(w.broker, topic).isOrder());
			w.outcome("the broker marks it ordered");

			w.admin.createOrUpdateOrderConf(topic, w.brokerName + ":6", true);
			w.outcome("six of four: producers use " + ids(p.fetchPublishMessageQueues(topic)));
			w.outcomeOf("queue 5", () -> p.send(World.message(topic, "A", "m"), w.queue(topic, 5)).getSendStatus());

			w.admin.deleteKvConfig(ORDER_TOPICS, topic);
			w.outcomeOf("deleted", () -> w.admin.getKVConfig(ORDER_TOPICS, topic));
			w.outcome("route says " + w.admin.examineTopicRouteInfo(topic).getOrderTopicConf());
			awaitQueues(w, p, topic, List.of(0, 1, 2, 3));
			w.outcome("producers use " + ids(p.fetchPublishMessageQueues(topic)));
		} finally {
			p.shutdown();
		}
	}
}
