// SPDX-License-Identifier: Apache-2.0

import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;

import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageExt;

/** What comes of messages that consumers send back: when they come again, as what, and where they end. */
final class RetryCases {
	private static final String RETRY = "%RETRY%", DEAD = "%DLQ%";

	static void addTo(Map<String, Interop.Case> all) {
		all.put("retry-ladder", RetryCases::ladder);
		all.put("retry-dead-letter", RetryCases::deadLetter);
		all.put("retry-by-level", RetryCases::byLevel);
		all.put("retry-send-back", RetryCases::sendBack);
		all.put("retry-orderly", RetryCases::orderly);
		all.put("retry-direct", RetryCases::direct);
		all.put("retry-two-groups", RetryCases::twoGroups);
		all.put("retry-group-settings", RetryCases::groupSettings);
	}

	/* ---- helpers ---- */

	private static Message message(String topic, String text) {
		Message m = World.message(topic, "A", text);

		m.setKeys("key-of-" + text.replace(' ', '-'));
		m.setFlag(7);
		m.putUserProperty("color", "blue");
		return m;
	}

	/** A member that looks for its retry topic every second, not every 30. */
	private static DefaultMQPushConsumer member(World w, String group, String instance, String topic) throws Exception {
		DefaultMQPushConsumer c = w.pushConsumer(group, instance);

		c.setPollNameServerInterval(1_000);
		c.subscribe(topic, "*");
		return c;
	}

	/** Started, with the queue of its retry topic. */
	private static void start(World w, String group, DefaultMQPushConsumer c) throws Exception {
		c.start();
		World.await("the retry queue", () -> {
			World.rebalance(c);
			return c.getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable().keySet().stream()
					.anyMatch(q -> q.getTopic().equals(RETRY + w.name(group)));
		});
	}

	/** Everything in a topic once its first queue holds so many messages, in the order of their texts. */
	private static List<MessageExt> settled(World w, String topic, int count) throws Exception {
		List<MessageExt> all;

		World.await(count + " messages in " + topic, () -> {
			try {
				return w.producer.maxOffset(w.queue(topic, 0)) >= count;
			} catch (Exception e) {
				return false; /* not there yet */
			}
		});
		all = w.stored(topic, 1).get(0);
		World.checkEqual(all.size(), count, "number of messages in " + topic);
		all.sort((a, b) -> World.text(a).compareTo(World.text(b)));
		return all;
	}

	/** Without what differs from run to run; that the rest of `m` is that of the message sent is checked here. */
	private static String facts(MessageExt m, SendResult sent) {
		Map<String, String> properties = new TreeMap<>(m.getProperties());
		String origin = properties.get("ORIGIN_MESSAGE_ID");

		/* The client's own. */
		properties.keySet().removeAll(List.of("CONSUME_START_TIME", "MIN_OFFSET", "MAX_OFFSET"));
		World.checkEqual(properties.remove("UNIQ_KEY"), sent.getMsgId(), "UNIQ_KEY");
		if (origin != null)
			properties.put("ORIGIN_MESSAGE_ID", origin.equals(sent.getOffsetMsgId()) ? "the offset id"
					: origin.equals(sent.getMsgId()) ? "the unique id" : "another");
		return World.text(m) + ": times " + m.getReconsumeTimes() + " in " + m.getTopic() + " queue " + m.getQueueId() + " flag "
				+ m.getFlag() + " sysFlag " + m.getSysFlag() + " " + properties;
	}

	private static void shape(World w, String topic) throws Exception {
		w.awaitRoute(topic);
		var q = w.admin.examineTopicRouteInfo(topic).getQueueDatas().get(0);
		w.outcome(topic + " read " + q.getReadQueueNums() + " write " + q.getWriteQueueNums() + " perm " + q.getPerm());
	}

	/** Notes what comes, and asks `verdict` with the number of times that the text came before. */
	private static final class Later implements MessageListenerConcurrently {
		interface Verdict {
			/** A delay level, or null when the message is consumed. */
			Integer of(MessageExt m, int before);
		}

		final List<MessageExt> seen = new CopyOnWriteArrayList<>();
		final List<String> order = new CopyOnWriteArrayList<>();
		private final Map<String, Integer> count = new ConcurrentHashMap<>();
		private final Verdict verdict;

		Later(Verdict verdict) {
			this.verdict = verdict;
		}

		@Override
		public ConsumeConcurrentlyStatus consumeMessage(List<MessageExt> messages,
				org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyContext context) {
			Integer level = null;

			for (MessageExt m : messages) { /* one: consumeMessageBatchMaxSize */
				level = verdict.of(m, count.merge(World.text(m), 1, Integer::sum) - 1);
				seen.add(m);
			}
			if (level == null)
				return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
			context.setDelayLevelWhenNextConsume(level);
			return ConsumeConcurrentlyStatus.RECONSUME_LATER;
		}
	}

	/* ---- cases ---- */

	/** Two failures, then success: each step one level up, properties grow only once. */
	private static void ladder(World w) throws Exception {
		String topic = w.topic("retry-ladder", 1), group = "retry-ladder";
		Later later = new Later((m, before) -> before < 2 ? 0 : null);
		DefaultMQPushConsumer c = member(w, group, "ladder", topic);

		c.registerMessageListener(later);
		start(w, group, c);
		try {
			long before = System.currentTimeMillis();
			SendResult sent = w.send(message(topic, "ladder"), 0);

			World.await("three deliveries", () -> later.seen.size() == 3);
			World.check(System.currentTimeMillis() - before >= 2_000, "levels of 1 s are over sooner");
			for (MessageExt m : later.seen)
				w.outcome("came " + facts(m, sent));
			/* The client calls the topic by its first name again only in what it hands to the listener. */
			for (MessageExt m : settled(w, RETRY + w.name(group), 2)) {
				World.checkEqual(m.getBornTimestamp(), later.seen.get(0).getBornTimestamp(), "born time");
				World.checkEqual(m.getBornHost(), later.seen.get(0).getBornHost(), "born host");
				World.checkEqual(m.getStoreHost(), later.seen.get(0).getStoreHost(), "store host");
				w.outcome("stored " + facts(m, sent));
			}
			shape(w, RETRY + w.name(group));
		} finally {
			c.shutdown();
		}
	}

	/** Never consumed: after maxReconsumeTimes deliveries of the retry topic it is a dead letter. */
	private static void deadLetter(World w) throws Exception {
		String topic = w.topic("retry-dead", 1), group = "retry-dead";
		Later later = new Later((m, before) -> 0);
		DefaultMQPushConsumer c = member(w, group, "dead", topic);

		c.setMaxReconsumeTimes(1);
		c.registerMessageListener(later);
		start(w, group, c);
		try {
			SendResult sent = w.send(message(topic, "dead"), 0);

			for (MessageExt m : settled(w, DEAD + w.name(group), 1))
				w.outcome("stored " + facts(m, sent));
			w.outcome("came " + later.seen.size() + " times");
			shape(w, DEAD + w.name(group));
		} finally {
			c.shutdown();
		}
	}

	/** The listener chooses the level; -1 gives up at once. */
	private static void byLevel(World w) throws Exception {
		String topic = w.topic("retry-level", 1), group = "retry-level";
		Later later = new Later((m, before) -> before > 0 ? null : World.text(m).equals("hopeless") ? -1 : 5);
		DefaultMQPushConsumer c = member(w, group, "level", topic);

		c.registerMessageListener(later);
		start(w, group, c);
		try {
			SendResult chosen = w.send(message(topic, "chosen"), 0), hopeless = w.send(message(topic, "hopeless"), 0);

			World.await("three deliveries", () -> later.seen.size() == 3);
			/* The second message may be later than the first one's return. */
			for (MessageExt m : later.seen)
				if (World.text(m).equals("chosen") && m.getReconsumeTimes() > 0)
					w.outcome("came " + facts(m, chosen));
			for (MessageExt m : settled(w, DEAD + w.name(group), 1))
				w.outcome("stored " + facts(m, hopeless));
		} finally {
			c.shutdown();
		}
	}

	/** A pull consumer sends back what it read, for a group of its choice. */
	private static void sendBack(World w) throws Exception {
		String topic = w.topic("retry-back", 1), group = w.name("retry-back");
		DefaultMQPullConsumer c = new DefaultMQPullConsumer(group);
		Map<String, SendResult> sent = new TreeMap<>();

		for (int level : new int[] {0, 2, -1, 99})
			sent.put("level " + level, w.send(message(topic, "level " + level), 0));
		c.setNamesrvAddr(w.namesrv);
		c.setInstanceName("back");
		c.start();
		try {
			/* A client that does not know the broker's address sends to the retry topic instead. */
			c.maxOffset(w.queue(topic, 0));
			for (MessageExt m : settled(w, topic, sent.size()))
				c.sendMessageBack(m, Integer.parseInt(World.text(m).split(" ")[1]), w.brokerName, group);
			for (MessageExt m : settled(w, RETRY + group, 3))
				w.outcome("stored " + facts(m, sent.get(World.text(m))));
			for (MessageExt m : settled(w, DEAD + group, 1))
				w.outcome("stored " + facts(m, sent.get(World.text(m))));
			/* Once more from the retry topic: the first id and topic stay. */
			for (MessageExt m : settled(w, RETRY + group, 3))
				if (World.text(m).equals("level 0"))
					c.sendMessageBack(m, -1, w.brokerName, group);
			for (MessageExt m : settled(w, DEAD + group, 2))
				if (World.text(m).equals("level 0"))
					w.outcome("stored again " + facts(m, sent.get(World.text(m))));
		} finally {
			c.shutdown();
		}
	}

	/** An orderly member keeps the queue waiting, up to its limit; then the message is a dead letter and the next one's turn comes. */
	private static void orderly(World w) throws Exception {
		String topic = w.topic("retry-orderly", 1), group = "retry-orderly";
		List<String> seen = new CopyOnWriteArrayList<>();
		DefaultMQPushConsumer c = member(w, group, "orderly-retry", topic);

		c.setMaxReconsumeTimes(2);
		c.setSuspendCurrentQueueTimeMillis(50);
		c.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
			boolean isStuck = World.text(messages.get(0)).equals("stuck");

			seen.add(World.text(messages.get(0)) + " " + messages.get(0).getReconsumeTimes());
			return isStuck ? ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT : ConsumeOrderlyStatus.SUCCESS;
		});
		start(w, group, c);
		try {
			SendResult sent = w.send(message(topic, "stuck"), 0);

			w.send(message(topic, "next"), 0);
			World.await("the next message", () -> seen.stream().anyMatch(s -> s.startsWith("next")));
			w.outcome("came " + seen);
			for (MessageExt m : settled(w, DEAD + w.name(group), 1))
				w.outcome("stored " + facts(m, sent));
		} finally {
			c.shutdown();
		}
	}

	/** What clients do when code 36 fails: an ordinary send to the retry topic, with the counts beside the message. */
	private static void direct(World w) throws Exception {
		String group = w.name("retry-direct");
		String topic = w.topic("retry-direct-origin", 1);
		Map<String, SendResult> sent = new TreeMap<>();

		for (int times = 1; times <= 3; times++) {
			Message m = message(RETRY + group, "times " + times);

			MessageAccessor.putProperty(m, "RETRY_TOPIC", topic);
			MessageAccessor.setReconsumeTime(m, "" + times);
			MessageAccessor.setMaxReconsumeTimes(m, "2");
			m.setDelayTimeLevel(3 + times);
			/* Not noted by the world: it answers with its place in the queue where it waits. */
			sent.put(World.text(m), w.producer.send(m, w.queue(m.getTopic(), 0)));
		}
		for (MessageExt m : settled(w, RETRY + group, 2))
			w.outcome("stored " + facts(m, sent.get(World.text(m))));
		for (MessageExt m : settled(w, DEAD + group, 1))
			w.outcome("stored " + facts(m, sent.get(World.text(m))));
	}

	/** What one group fails to consume is no other group's business. Each message of two members fails once. */
	private static void twoGroups(World w) throws Exception {
		int count = 200;
		String topic = w.topic("retry-groups", 4);
		Later fails = new Later((m, before) -> before == 0 ? 0 : null), takes = new Later((m, before) -> null);
		List<DefaultMQPushConsumer> members = List.of(member(w, "retry-fails", "fails-0", topic),
				member(w, "retry-fails", "fails-1", topic), member(w, "retry-takes", "takes", topic));

		members.get(0).registerMessageListener(fails);
		members.get(1).registerMessageListener(fails);
		members.get(2).registerMessageListener(takes);
		members.get(0).start();
		/* One after the other: a first that is still on its way to all queues passes through half of them, too. */
		PushCases.awaitShares(topic, 4, members.get(0));
		members.get(1).start();
		start(w, "retry-takes", members.get(2));
		try {
			World.await("a member with the retry queue", () -> members.subList(0, 2).stream().anyMatch(c -> {
				World.rebalance(c);
				return c.getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable().keySet().stream()
						.anyMatch(q -> q.getTopic().equals(RETRY + w.name("retry-fails")));
			}));
			World.await("an even share", () -> members.subList(0, 2).stream().allMatch(c -> {
				World.rebalance(c);
				return c.getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable().keySet().stream()
						.filter(q -> q.getTopic().equals(topic)).count() == 2;
			}));
			for (int i = 0; i < count; i++)
				w.send(World.message(topic, "A", "m" + i), i % 4);
			World.await("all deliveries", () -> fails.seen.size() >= 2 * count && takes.seen.size() >= count);
			settled(w, RETRY + w.name("retry-fails"), count);
			settled(w, RETRY + w.name("retry-takes"), 0);
			w.outcome("came by times: " + World.histogram(fails.seen.stream().map(MessageExt::getReconsumeTimes).toList())
					+ " and " + World.histogram(takes.seen.stream().map(MessageExt::getReconsumeTimes).toList()));
		} finally {
			members.forEach(DefaultMQPushConsumer::shutdown);
		}
	}

	/** The class of a group's settings moved between the generations. */
	private static void group(World w, String group, Object... settings) throws Exception {
		for (var m : w.admin.getClass().getMethods()) {
			if (!m.getName().equals("createAndUpdateSubscriptionGroupConfig") || m.getParameterCount() != 2)
				continue;
			Object config = m.getParameterTypes()[1].getConstructor().newInstance();

			config.getClass().getMethod("setGroupName", String.class).invoke(config, group);
			for (int i = 0; i < settings.length; i += 2) {
				Class<?> type = settings[i + 1] instanceof Boolean ? boolean.class : int.class;

				config.getClass().getMethod("set" + settings[i], type).invoke(config, settings[i + 1]);
			}
			m.invoke(w.admin, w.broker, config);
			return;
		}
	}

	/** What an administrator says of a group counts: how many retry queues, none, and whether it may consume. */
	private static void groupSettings(World w) throws Exception {
		String topic = w.topic("retry-settings", 1), spread = w.name("retry-spread"), none = w.name("retry-none"), off = w.name("retry-off");
		DefaultMQPullConsumer c = new DefaultMQPullConsumer(w.name("retry-settings"));

		group(w, spread, "RetryQueueNums", 3);
		group(w, none, "RetryQueueNums", 0);
		group(w, off, "ConsumeEnable", false);
		w.send(message(topic, "sent back"), 0);
		c.setNamesrvAddr(w.namesrv);
		c.setInstanceName("settings");
		c.start();
		try {
			c.maxOffset(w.queue(topic, 0));
			MessageExt m = settled(w, topic, 1).get(0);

			for (int i = 0; i < 12; i++)
				c.sendMessageBack(m, 0, w.brokerName, spread);
			World.await("12 retries", () -> {
				long sum = 0;

				for (int id = 0; id < 3; id++)
					sum += w.producer.maxOffset(w.queue(RETRY + spread, id));
				return sum == 12;
			});
			shape(w, RETRY + spread);
			c.sendMessageBack(m, 0, w.brokerName, none);
			w.outcomeOf("a group without retry queues", () -> w.admin.examineTopicRouteInfo(RETRY + none).getQueueDatas());
		} finally {
			c.shutdown();
		}
		DefaultMQPullConsumer disabled = new DefaultMQPullConsumer(off);

		disabled.setNamesrvAddr(w.namesrv);
		disabled.setInstanceName("off");
		disabled.start();
		try {
			w.outcomeOf("a group that may not consume", () -> disabled.pull(w.queue(topic, 0), "*", 0, 1).getPullStatus());
		} finally {
			disabled.shutdown();
		}
	}
}
