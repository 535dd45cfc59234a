// SPDX-License-Identifier: Apache-2.0

import java.util.ArrayList;
import java.util.List;
import java.util.Map;

import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Consumers that ask: the lite one, and the old one whose results show offsets and states. */
final class PullCases {
	static void addTo(Map<String, Interop.Case> all) {
		all.put("pull-results", PullCases::results);
		all.put("offsets", PullCases::offsets);
		all.put("lite-assign-seek", PullCases::assignSeek);
		all.put("lite-subscribe-resume", PullCases::subscribeResume);
	}

	private static DefaultLitePullConsumer lite(World w, String group, String instance) {
		DefaultLitePullConsumer c = new DefaultLitePullConsumer(w.name(group));

		c.setNamesrvAddr(w.namesrv);
		c.setInstanceName(instance);
		c.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
		c.setAutoCommit(false);
		return c;
	}

	private static String shown(PullResult r) {
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
			World.await("the committed offsets", () -> {
				long sum = 0;

				for (int id = 0; id < 2; id++)
					sum += Math.max(0, c.committed(w.queue(topic, id)));
				/* An offset goes up to the last matching message or to the end. */
				return sum >= 38;
			});
		} finally {
			c.shutdown();
		}

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
}
