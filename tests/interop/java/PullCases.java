// SPDX-License-Identifier: Apache-2.0

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;

import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.store.RemoteBrokerOffsetStore;
import org.apache.rocketmq.client.impl.MQClientManager;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Consumers that ask: the lite one, and the old one whose results show offsets and states. */
final class PullCases {
	static void addTo(Map<String, Interop.Case> all) {
		all.put("pull-results", PullCases::results);
		all.put("offsets", PullCases::offsets);
		all.put("lite-assign-seek", PullCases::assignSeek);
		all.put("lite-subscribe-resume", PullCases::subscribeResume);
		all.put("lite-share", PullCases::share);
		all.put("offsets-by-time", PullCases::byTime);
		all.put("offsets-kept", PullCases::kept);
		all.put("offsets-by-pull", PullCases::byPull);
	}

	private static DefaultLitePullConsumer lite(World w, String group, String instance) {
		DefaultLitePullConsumer c = new DefaultLitePullConsumer(w.name(group));

		c.setNamesrvAddr(w.namesrv);
		c.setInstanceName(instance);
		c.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
		c.setAutoCommit(false);
		return c;
	}

	static String shown(PullResult r) {
		List<String> texts = new ArrayList<>();

		if (r.getMsgFoundList() != null)
			for (MessageExt m : r.getMsgFoundList())
				texts.add(World.text(m));
		return r.getPullStatus() + " next " + r.getNextBeginOffset() + " of " + r.getMinOffset() + ".."
				+ r.getMaxOffset() + " " + texts;
	}

	private static void results(World w) throws Exception {
		String topic = w.topic("pull", 1);
		DefaultMQPullConsumer c = new DefaultMQPullConsumer(w.name("puller"));
		MessageQueue q = w.queue(topic, 0);

		c.setNamesrvAddr(w.namesrv);
		c.setInstanceName("puller");
		c.start();
		try {
			w.outcomeOf("empty queue", () -> shown(c.pull(q, "*", 0, 32)));
			w.outcomeOf("empty queue at 7", () -> shown(c.pull(q, "*", 7, 32)));
			for (int i = 0; i < 10; i++)
				w.send(World.message(topic, i % 3 == 0 ? "A" : "B", "m" + i), 0);
			w.settle();
			w.outcomeOf("all", () -> shown(c.pull(q, "*", 0, 32)));
			w.outcomeOf("three from 4", () -> shown(c.pull(q, "*", 4, 3)));
			w.outcomeOf("tag A", () -> shown(c.pull(q, "A", 0, 32)));
			w.outcomeOf("tag A or B, two", () -> shown(c.pull(q, "A || B", 0, 2)));
			w.outcomeOf("tag that none has", () -> shown(c.pull(q, "Z", 0, 32)));
			w.outcomeOf("tags with equal hash", () -> shown(c.pull(q, "BB || Aa", 0, 32)));
			w.outcomeOf("at the end", () -> shown(c.pull(q, "*", 10, 32)));
			w.outcomeOf("beyond the end", () -> shown(c.pull(q, "*", 1000, 32)));
			/* A long poll that a message ends. */
			Thread sender = new Thread(() -> {
				try {
					w.send(World.message(topic, "C", "late"), 0);
				} catch (Exception e) {
					e.printStackTrace();
				}
			});
			sender.start();
			w.outcomeOf("long poll", () -> shown(c.pullBlockIfNotFound(q, "*", 10, 32)));
			sender.join();
			w.topic("pull", 2);
			w.outcomeOf("queue that came later", () -> shown(c.pull(w.queue(topic, 1), "*", 0, 32)));
			w.outcomeOf("queue that came later at 3", () -> shown(c.pull(w.queue(topic, 1), "*", 3, 32)));
			w.outcomeOf("queue that is not there", () -> shown(c.pull(w.queue(topic, 2), "*", 0, 32)));
			c.updateConsumeOffset(q, 7);
			w.outcomeOf("unknown topic", () -> shown(c.pull(w.queue(w.name("none"), 0), "*", 0, 32)));
		} finally {
			c.shutdown();
		}
	}

	private static void offsets(World w) throws Exception {
		String topic = w.topic("offsets", 2);
		MessageQueue q = w.queue(topic, 0);
		long before = System.currentTimeMillis() - 1;
		long middle;

		for (int i = 0; i < 5; i++)
			w.send(World.message(topic, "A", "early " + i), 0);
		/* The second half must be stored in a later millisecond. */
		middle = System.currentTimeMillis() + 1;
		World.await("the next millisecond", () -> System.currentTimeMillis() > middle);
		for (int i = 0; i < 5; i++)
			w.send(World.message(topic, "A", "late " + i), 0);

		w.settle();
		w.outcome("min " + w.producer.minOffset(q) + " max " + w.producer.maxOffset(q));
		w.outcome("search before " + w.producer.searchOffset(q, before)
				+ " between " + w.producer.searchOffset(q, middle)
				+ " future " + w.producer.searchOffset(q, System.currentTimeMillis() + 3_600_000));
		w.outcome("empty queue: min " + w.producer.minOffset(w.queue(topic, 1))
				+ " max " + w.producer.maxOffset(w.queue(topic, 1))
				+ " search " + w.producer.searchOffset(w.queue(topic, 1), before));
	}

	/** Polls until `count` messages came. */
	private static List<String> take(DefaultLitePullConsumer c, int count) throws Exception {
		List<String> texts = new ArrayList<>();

		World.await(count + " messages", () -> {
			for (MessageExt m : c.poll(200))
				texts.add(World.text(m));
			return texts.size() >= count;
		});
		return texts;
	}

	/** The same after a seek: what was fetched before it may come first. */
	private static List<String> takeFrom(DefaultLitePullConsumer c, String first, int count) throws Exception {
		List<String> texts = new ArrayList<>();

		World.await(count + " messages from " + first, () -> {
			for (MessageExt m : c.poll(200))
				if (!texts.isEmpty() || World.text(m).equals(first))
					texts.add(World.text(m));
			return texts.size() >= count;
		});
		return texts;
	}

	private static void assignSeek(World w) throws Exception {
		String topic = w.topic("lite-seek", 1);
		MessageQueue q = w.queue(topic, 0);
		DefaultLitePullConsumer c = lite(w, "lite-seek", "lite-seek");

		for (int i = 0; i < 20; i++)
			w.send(World.message(topic, "A", "m" + i), 0);
		w.settle(); /* the client refuses to seek beyond what it is told is the end */
		c.start();
		try {
			c.assign(List.of(q));
			c.seek(q, 15);
			w.outcome("from 15 " + takeFrom(c, "m15", 5));
			c.seekToBegin(q);
			List<String> all = takeFrom(c, "m0", 20);
			World.checkEqual(all.size(), 20, "number from the beginning");
			w.outcome("from the beginning " + all.get(0) + ".." + all.get(19));
			c.seekToEnd(q);
			w.send(World.message(topic, "A", "after the end"), 0);
			w.outcome("from the end " + takeFrom(c, "after the end", 1));
			w.outcomeOf("seek beyond", () -> {
				c.seek(q, 1000);
				return "accepted";
			});
			w.outcomeOf("by time", () -> c.offsetForTimestamp(q, 0L));
		} finally {
			c.shutdown();
		}
	}

	private static void subscribeResume(World w) throws Exception {
		String topic = w.topic("lite-resume", 2);

		for (int i = 0; i < 40; i++)
			w.send(World.message(topic, i % 2 == 0 ? "A" : "B", "m" + i), i % 4 / 2);

		DefaultLitePullConsumer c = lite(w, "lite-resume", "lite-1");
		c.subscribe(topic, "A");
		c.start();
		try {
			List<String> got = take(c, 20);
			World.checkEqual(got.size(), 20, "number with tag A");
			c.commitSync();
		} finally {
			c.shutdown();
		}
		/* The broker's word: the client's own is what it would commit. */
		World.await("the committed offsets", () -> {
			long sum = 0;

			for (int id = 0; id < 2; id++)
				sum += Math.max(0, QueueCases.committed(w, "lite-resume", w.queue(topic, id)));
			/* An offset goes up to the last matching message or to the end. */
			return sum >= 38;
		});

		for (int i = 40; i < 50; i++)
			w.send(World.message(topic, "A", "m" + i), 0);
		DefaultLitePullConsumer again = lite(w, "lite-resume", "lite-2");
		again.subscribe(topic, "A");
		again.start();
		try {
			w.outcome("after the restart " + take(again, 10));
		} finally {
			again.shutdown();
		}
	}

	/** Two members subscribe and commit by themselves; one leaves. */
	private static void share(World w) throws Exception {
		String topic = w.topic("lite-share", 8);
		DefaultLitePullConsumer[] members = {lite(w, "lite-share", "share-0"), lite(w, "lite-share", "share-1")};
		World.Inbox[] inboxes = {new World.Inbox(), new World.Inbox()};

		for (DefaultLitePullConsumer c : members) {
			c.setAutoCommit(true);
			c.setAutoCommitIntervalMillis(1_000);
			c.subscribe(topic, "*");
			c.start();
		}
		try {
			awaitAssignments(topic, 4, members);
			for (int i = 0; i < 80; i++)
				w.send(World.message(topic, "A", "both " + i), i % 8);
			World.await("80 messages", () -> {
				for (int i = 0; i < 2; i++)
					members[i].poll(100).forEach(inboxes[i]::add);
				return inboxes[0].distinct() + inboxes[1].distinct() >= 80;
			});
			w.outcome("shared " + inboxes[0].distinct() + "+" + inboxes[1].distinct());
			/* A poll commits what the one before gave. */
			World.await("the offsets", 60_000, () -> {
				for (DefaultLitePullConsumer c : members)
					c.poll(100);
				return w.lag("lite-share") == 0;
			});
			members[0].shutdown();
			awaitAssignments(topic, 8, members[1]);
			for (int i = 0; i < 80; i++)
				w.send(World.message(topic, "A", "one " + i), i % 8);
			World.await("80 messages", () -> {
				members[1].poll(100).forEach(inboxes[1]::add);
				return inboxes[1].texts().stream().filter(t -> t.startsWith("one ")).count() == 80;
			});
			/* What the other had fetched before may come again. */
			w.outcome("after one left all");
		} finally {
			for (DefaultLitePullConsumer c : members)
				c.shutdown();
		}
	}

	private static void awaitAssignments(String topic, int each, DefaultLitePullConsumer... members) throws Exception {
		World.await("an even share", 60_000, () -> {
			for (DefaultLitePullConsumer c : members)
				if (c.assignment().stream().filter(q -> q.getTopic().equals(topic)).count() != each)
					return false;
			return true;
		});
	}

	/** 5.x asks for either boundary; 4.9 for the lower. */
	private static long byTime(World w, String boundary, MessageQueue q, long time) throws Exception {
		try {
			return (long) w.admin.getClass().getMethod("search" + boundary + "BoundaryOffset", MessageQueue.class, long.class)
					.invoke(w.admin, q, time);
		} catch (NoSuchMethodException e) {
			return boundary.equals("Lower") ? w.admin.searchOffset(q, time) : -1;
		}
	}

	/** Ten messages of two milliseconds, and the times around them. */
	private static void byTime(World w) throws Exception {
		String topic = w.topic("by-time", 2);
		MessageQueue q = w.queue(topic, 0);
		List<MessageExt> stored;

		for (int batch = 0; batch < 2; batch++) {
			List<Message> messages = new ArrayList<>();
			long now = System.currentTimeMillis();

			World.await("two milliseconds", () -> System.currentTimeMillis() > now + 2);
			for (int i = 0; i < 5; i++)
				messages.add(World.message(topic, "A", "m" + i));
			w.sent(w.producer.send(messages, q));
		}
		stored = w.stored(topic, 1).get(0);
		long first = stored.get(0).getStoreTimestamp();
		long second = stored.get(5).getStoreTimestamp();
		World.checkEqual(stored.get(4).getStoreTimestamp(), first, "time of the first batch's last");
		for (String boundary : new String[] {"Lower", "Upper"})
			w.outcome(boundary + ": before " + byTime(w, boundary, q, first - 1) + ", first " + byTime(w, boundary, q, first) + ", between "
					+ byTime(w, boundary, q, first + 1) + ", second " + byTime(w, boundary, q, second) + ", after "
					+ byTime(w, boundary, q, second + 1) + ", future " + byTime(w, boundary, q, second + 3_600_000) + ", zero "
					+ byTime(w, boundary, q, 0) + ", empty queue " + byTime(w, boundary, w.queue(topic, 1), first));
	}

	/** A group that has offsets goes on there, wherever it says it would begin. */
	private static void kept(World w) throws Exception {
		String topic = w.topic("kept", 2);

		for (int i = 0; i < 20; i++)
			w.send(World.message(topic, "A", "m" + i), i % 2);
		w.settle();
		for (ConsumeFromWhere where : new ConsumeFromWhere[] {ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET,
			ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET, ConsumeFromWhere.CONSUME_FROM_TIMESTAMP,
			ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET}) {
			World.Inbox inbox = new World.Inbox();
			var c = w.pushConsumer("kept", "kept-" + where);

			c.setConsumeFromWhere(where);
			c.subscribe(topic, "*");
			c.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
				messages.forEach(inbox::add);
				return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
			});
			c.start();
			try {
				World.await("the end", () -> QueueCases.isDrained(w, "kept", topic, q -> true, c)
						&& QueueCases.committed(w, "kept", w.queue(topic, 1)) == 10);
			} finally {
				c.shutdown();
			}
			w.outcome(where + " got " + inbox.distinct());
			for (int id = 0; id < 2; id++)
				w.admin.updateConsumeOffset(w.broker, w.name("kept"), w.queue(topic, id), 3);
		}
	}

	/** Tells the broker nothing of its own accord: an interval does not keep the client from committing once after ten seconds. */
	private static final class SilentOffsets extends RemoteBrokerOffsetStore {
		SilentOffsets(DefaultMQPushConsumer c) {
			super(MQClientManager.getInstance().getOrCreateMQClientInstance(c), c.getConsumerGroup());
		}

		@Override
		public void persistAll(Set<MessageQueue> queues) {
		}

		@Override
		public void persist(MessageQueue q) {
		}
	}

	/** A consumer that never commits does so with its pulls. */
	private static void byPull(World w) throws Exception {
		String topic = w.topic("by-pull", 1);
		World.Inbox inbox = new World.Inbox();
		var c = w.pushConsumer("by-pull", "by-pull");

		c.setOffsetStore(new SilentOffsets(c));
		c.subscribe(topic, "*");
		c.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
			messages.forEach(inbox::add);
			return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
		});
		c.start();
		try {
			for (int i = 0; i < 10; i++) {
				int wanted = i + 1;

				w.send(World.message(topic, "A", "m" + i), 0);
				World.await("message " + i, () -> inbox.size() == wanted);
			}
			/* Each further one lets a pull come back, and the next say where the group is. */
			World.await("an offset", () -> {
				int wanted = inbox.size() + 1;

				w.send(World.message(topic, "A", "further " + wanted), 0);
				World.await("a further message", () -> inbox.size() == wanted);
				return QueueCases.committed(w, "by-pull", w.queue(topic, 0)) >= 10;
			});
			w.outcome("committed");
		} finally {
			c.shutdown();
		}
	}
}
