// SPDX-License-Identifier: Apache-2.0

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;

import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** What a message may be: compressed in each way, full of properties, one of a batch that is stored as one. */
final class MessageCases {
	static void addTo(Map<String, Interop.Case> all) {
		all.put("message-compressed", (Interop.Aside) MessageCases::compressed);
		all.put("message-properties", MessageCases::properties);
		all.put("message-inner-batch", MessageCases::innerBatch);
	}

	/** With the setters of 5.x, which 4.9 does not have; null without them. */
	private static Object enumValue(Class<?> type, String name) {
		for (Object value : type.getEnumConstants())
			if (value.toString().equals(name))
				return value;
		return null;
	}

	private static boolean compressWith(DefaultMQProducer p, String name) throws Exception {
		for (var m : p.getClass().getMethods()) {
			if (m.getName().equals("setCompressType")) {
				m.invoke(p, enumValue(m.getParameterTypes()[0], name));
				return true;
			}
		}
		return false;
	}

	/** Bodies pass as they are, at once and after a delay. */
	private static void compressed(World w) throws Exception {
		String topic = w.topic("message-compressed", 1);
		String body = "compressible ".repeat(2_000);
		long count = 0;

		for (String type : new String[] {"LZ4", "ZSTD", "ZLIB"}) {
			DefaultMQProducer p = w.producer("compress-" + type);

			if (!compressWith(p, type) && !type.equals("ZLIB"))
				continue;
			p.start();
			try {
				Message later = World.message(topic, "A", body + type + " later");

				later.setDelayTimeLevel(1);
				w.sent(p.send(World.message(topic, "A", body + type), w.queue(topic, 0)));
				p.send(later, w.queue(topic, 0));
			} finally {
				p.shutdown();
			}
			count += 2;
			long wanted = count;

			World.await("both of " + type, () -> w.producer.maxOffset(w.queue(topic, 0)) >= wanted);
		}
		for (MessageExt m : w.stored(topic, 1).get(0)) {
			World.check(World.text(m).startsWith(body), "the body is another");
			World.check(m.getStoreSize() < body.length() / 4, "stored in " + m.getStoreSize() + " bytes");
			w.outcome(World.text(m).substring(body.length()) + " sysFlag " + m.getSysFlag());
		}
	}

	/** Properties up to what a record has room for, and beyond. */
	private static void properties(World w) throws Exception {
		String topic = w.topic("message-properties", 1);

		for (int size : new int[] {1, 16_000, 32_500, 32_600, 32_650, 32_700, 32_767}) {
			Message m = World.message(topic, "A", "" + size);

			m.putUserProperty("long", "v".repeat(size));
			w.outcomeOf("a value of " + size, () -> w.send(m, 0).getSendStatus());
		}
		for (MessageExt m : w.stored(topic, 1).get(0))
			World.checkEqual(m.getUserProperty("long").length(), Integer.parseInt(World.text(m)), "length of the value");
	}

	/**
	 * To a topic of type BatchCQ a batch is one message with one id; consumers see its messages, each with an offset of its own.
	 * How it is stored shows in sysFlag only: Apache's broker leaves it to the client to take the batch apart.
	 */
	private static void innerBatch(World w) throws Exception {
		String topic = w.name("message-inner-batch");
		TopicConfig config = new TopicConfig(topic, 1, 1, 6);
		List<Message> batch = new ArrayList<>();

		try {
			config.getClass().getMethod("setAttributes", Map.class).invoke(config, Map.of("+queue.type", "BatchCQ"));
		} catch (NoSuchMethodException e) {
			w.outcome("not in this client");
			return;
		}
		w.admin.createAndUpdateTopicConfig(w.broker, config);
		w.awaitRoute(topic);
		w.outcome("empty from " + w.producer.minOffset(w.queue(topic, 0)) + " to " + w.producer.maxOffset(w.queue(topic, 0)));
		for (int i = 0; i < 5; i++) {
			Message m = World.message(topic, i % 2 == 0 ? "A" : "B", "inner " + i);

			m.setKeys("inner-key-" + i);
			batch.add(m);
		}
		for (int i = 0; i < 2; i++) {
			SendResult r = w.producer.send(batch, w.queue(topic, 0));

			w.outcome("sent " + r.getSendStatus() + " at " + r.getQueueOffset() + " unique ids " + r.getMsgId().split(",").length
					+ " offset ids " + r.getOffsetMsgId().split(",").length);
		}
		World.await("10 messages", () -> w.producer.maxOffset(w.queue(topic, 0)) >= 10);
		for (MessageExt m : w.stored(topic, 1).get(0))
			w.outcome(World.text(m) + "@" + m.getQueueOffset() + " " + m.getKeys() + " "
					+ new TreeSet<>(m.getProperties().keySet()));
		w.outcome("from " + w.producer.minOffset(w.queue(topic, 0)) + " to " + w.producer.maxOffset(w.queue(topic, 0)));
	}
}
