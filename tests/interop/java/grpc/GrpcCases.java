// SPDX-License-Identifier: Apache-2.0

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

import org.apache.rocketmq.client.apis.ClientConfiguration;
import org.apache.rocketmq.client.apis.ClientServiceProvider;
import org.apache.rocketmq.client.apis.consumer.ConsumeResult;
import org.apache.rocketmq.client.apis.consumer.FilterExpression;
import org.apache.rocketmq.client.apis.consumer.FilterExpressionType;
import org.apache.rocketmq.client.apis.consumer.PushConsumer;
import org.apache.rocketmq.client.apis.consumer.SimpleConsumer;
import org.apache.rocketmq.client.apis.message.Message;
import org.apache.rocketmq.client.apis.message.MessageBuilder;
import org.apache.rocketmq.client.apis.message.MessageView;
import org.apache.rocketmq.client.apis.producer.Producer;
import org.apache.rocketmq.client.apis.producer.SendReceipt;
import org.apache.rocketmq.client.apis.producer.Transaction;
import org.apache.rocketmq.client.apis.producer.TransactionResolution;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.remoting.protocol.subscription.CustomizedRetryPolicy;
import org.apache.rocketmq.remoting.protocol.subscription.GroupRetryPolicy;
import org.apache.rocketmq.remoting.protocol.subscription.GroupRetryPolicyType;
import org.apache.rocketmq.remoting.protocol.subscription.SubscriptionGroupConfig;

/**
 * An unchanged gRPC client against Apache's proxy in cluster mode, with our servers or Apache's behind it:
 * `java -Dproxy=HOST:PORT GrpcCases HOST:PORT PREFIX [CASE...]`. Lines as those of Interop.
 *
 * A consumer without messages waits at the proxy, so the cases run side by side.
 */
public final class GrpcCases {
	private static final ClientServiceProvider PROVIDER = ClientServiceProvider.loadService();
	private static final Duration WAIT = Duration.ofSeconds(1);

	private static void addTo(Map<String, Interop.Case> all) {
		all.put("grpc-simple", (Interop.Aside) GrpcCases::simple);
		all.put("grpc-again", (Interop.Aside) GrpcCases::again);
		all.put("grpc-dead-letter", (Interop.Aside) GrpcCases::deadLetter);
		all.put("grpc-filters", (Interop.Aside) GrpcCases::filters);
		all.put("grpc-push", (Interop.Aside) GrpcCases::push);
		all.put("grpc-fifo", (Interop.Aside) GrpcCases::fifo);
		all.put("grpc-delay", (Interop.Aside) GrpcCases::delay);
		all.put("grpc-transactions", (Interop.Aside) GrpcCases::transactions);
		all.put("grpc-refused", (Interop.Aside) GrpcCases::refused);
	}

	public static void main(String[] args) {
		Interop.run(List.of(GrpcCases::addTo), args);
	}

	/* ---- helpers ---- */

	private static ClientConfiguration proxy() {
		return ClientConfiguration.newBuilder().setEndpoints(System.getProperty("proxy")).enableSsl(false)
				.setRequestTimeout(Duration.ofSeconds(30)).build();
	}

	/** A topic that takes messages of this type: NORMAL, FIFO, DELAY or TRANSACTION. */
	private static String topic(World w, String rest, int queues, String type) throws Exception {
		TopicConfig config = new TopicConfig(w.name(rest), queues, queues, 6);

		config.setAttributes(Map.of("+message.type", type));
		w.admin.createAndUpdateTopicConfig(w.broker, config);
		World.await("a route to " + w.name(rest), () -> {
			try {
				return !w.admin.examineTopicRouteInfo(w.name(rest)).getQueueDatas().isEmpty();
			} catch (Exception e) {
				return false;
			}
		});
		return w.name(rest);
	}

	/** A group in which what failed comes again after a second. */
	private static String group(World w, String rest, boolean isOrderly, int maxTimes) throws Exception {
		SubscriptionGroupConfig config = new SubscriptionGroupConfig();
		GroupRetryPolicy policy = new GroupRetryPolicy();

		policy.setType(GroupRetryPolicyType.CUSTOMIZED);
		policy.setCustomizedRetryPolicy(new CustomizedRetryPolicy(new long[] {1_000, 1_000, 1_000, 1_000, 1_000}));
		config.setGroupName(w.name(rest));
		config.setConsumeMessageOrderly(isOrderly);
		config.setRetryMaxTimes(maxTimes);
		config.setGroupRetryPolicy(policy);
		w.admin.createAndUpdateSubscriptionGroupConfig(w.broker, config);
		return w.name(rest);
	}

	private static Producer producer(String... topics) throws Exception {
		return PROVIDER.newProducerBuilder().setClientConfiguration(proxy()).setTopics(topics).build();
	}

	private static SimpleConsumer consumer(String group, String topic, FilterExpression expression) throws Exception {
		return PROVIDER.newSimpleConsumerBuilder().setClientConfiguration(proxy()).setConsumerGroup(group).setAwaitDuration(WAIT)
				.setSubscriptionExpressions(Map.of(topic, expression)).build();
	}

	private static MessageBuilder message(String topic, String tag, String text) {
		return PROVIDER.newMessageBuilder().setTopic(topic).setTag(tag).setBody(text.getBytes(StandardCharsets.UTF_8));
	}

	private static String text(MessageView m) {
		return StandardCharsets.UTF_8.decode(m.getBody().duplicate()).toString();
	}

	private static String facts(MessageView m) {
		return text(m) + " tag " + m.getTag().orElse("-") + " keys " + new TreeSet<>(m.getKeys()) + " "
				+ new TreeMap<>(m.getProperties()) + " group " + m.getMessageGroup().orElse("-") + " attempt "
				+ m.getDeliveryAttempt();
	}

	/** Receives until there are so many, and no more than these. */
	private static List<MessageView> receive(SimpleConsumer c, int count, Duration invisible) throws Exception {
		List<MessageView> all = new ArrayList<>();

		World.await(count + " messages", () -> {
			all.addAll(c.receive(16, invisible));
			return all.size() >= count;
		});
		World.checkEqual(all.size(), count, "number of messages");
		all.sort((a, b) -> text(a).compareTo(text(b)));
		return all;
	}

	/** Class and code of what is thrown; the texts of the proxy name classes and request ids. */
	private static void outcomeOf(World w, String what, World.Attempt attempt) {
		try {
			attempt.run();
			w.outcome(what + ": ok");
		} catch (Exception e) {
			Matcher code = Pattern.compile("response-code=(\\d+)").matcher(String.valueOf(e.getMessage()));

			w.outcome(what + ": " + e.getClass().getSimpleName() + (code.find() ? " " + code.group(1) : ""));
		}
	}

	/* ---- cases ---- */

	/** Sent, received with everything, acknowledged but for one, which comes again and alone. */
	private static void simple(World w) throws Exception {
		String topic = topic(w, "simple", 4, "NORMAL"), group = group(w, "simple", false, 16);
		Map<String, String> ids = new ConcurrentHashMap<>();

		try (SimpleConsumer c = consumer(group, topic, FilterExpression.SUB_ALL); Producer p = producer(topic)) {
			for (int i = 0; i < 10; i++) {
				SendReceipt receipt = p.send(message(topic, "T" + i % 2, "m" + i).setKeys("k" + i, "all").addProperty("n", "" + i).build());

				ids.put("m" + i, receipt.getMessageId().toString());
			}
			for (MessageView m : receive(c, 10, Duration.ofSeconds(20))) {
				World.checkEqual(m.getMessageId().toString(), ids.get(text(m)), "id");
				w.outcome(facts(m));
				if (!text(m).equals("m4"))
					c.ack(m);
			}
			for (MessageView m : receive(c, 1, Duration.ofSeconds(30))) {
				w.outcome("again " + facts(m));
				c.ack(m);
			}
			w.outcome("then " + c.receive(16, Duration.ofSeconds(30)).size());
		}
	}

	/** Not acknowledged in time; made visible sooner; an old handle. */
	private static void again(World w) throws Exception {
		String topic = topic(w, "again", 1, "NORMAL"), group = group(w, "again", false, 16);

		try (SimpleConsumer c = consumer(group, topic, FilterExpression.SUB_ALL); Producer p = producer(topic)) {
			p.send(message(topic, "T", "again").build());
			MessageView first = receive(c, 1, Duration.ofSeconds(1)).get(0), second = receive(c, 1, Duration.ofSeconds(60)).get(0);

			w.outcome(facts(first) + ", " + facts(second));
			outcomeOf(w, "ack too late", () -> {
				c.ack(first);
				return null;
			});
			outcomeOf(w, "sooner", () -> {
				c.changeInvisibleDuration(second, Duration.ofSeconds(1));
				return null;
			});
			MessageView third = receive(c, 1, Duration.ofSeconds(60)).get(0);

			w.outcome(facts(third));
			outcomeOf(w, "ack", () -> {
				c.ack(third);
				return null;
			});
			w.outcome("then " + c.receive(16, Duration.ofSeconds(30)).size());
		}
	}

	/** Never acknowledged: after its attempts it is a dead letter. */
	private static void deadLetter(World w) throws Exception {
		String topic = topic(w, "dead", 1, "NORMAL"), group = group(w, "dead", false, 1), dead = "%DLQ%" + group;
		List<String> attempts = new CopyOnWriteArrayList<>();

		try (SimpleConsumer c = consumer(group, topic, FilterExpression.SUB_ALL); Producer p = producer(topic)) {
			p.send(message(topic, "T", "dead").build());
			World.await("a dead letter", () -> {
				c.receive(16, Duration.ofSeconds(1)).forEach(m -> attempts.add("attempt " + m.getDeliveryAttempt()));
				try {
					return w.producer.maxOffset(w.queue(dead, 0)) > 0;
				} catch (Exception e) {
					return false; /* not there yet */
				}
			});
			var m = w.stored(dead, 1).get(0).get(0);

			w.outcome(attempts + ", then " + World.text(m) + " in " + m.getTopic());
		}
	}

	private static void filters(World w) throws Exception {
		String topic = topic(w, "filters", 2, "NORMAL");

		try (SimpleConsumer tags = consumer(group(w, "filter-tags", false, 16), topic, new FilterExpression("A||C"));
				SimpleConsumer sql = consumer(group(w, "filter-sql", false, 16), topic,
						new FilterExpression("n > 1 AND color = 'blue'", FilterExpressionType.SQL92));
				Producer p = producer(topic)) {
			int n = 0;

			for (String tag : List.of("A", "B", "C", "D"))
				p.send(message(topic, tag, "m" + n).addProperty("n", "" + n++).addProperty("color", n == 3 ? "red" : "blue").build());
			for (MessageView m : receive(tags, 2, Duration.ofSeconds(30)))
				w.outcome("by tag " + text(m));
			for (MessageView m : receive(sql, 2 - 1, Duration.ofSeconds(30)))
				w.outcome("by SQL " + text(m));
		}
	}

	/** Two push consumers; one message fails at first. */
	private static void push(World w) throws Exception {
		String topic = topic(w, "push", 4, "NORMAL"), group = group(w, "push", false, 16);
		List<String> seen = new CopyOnWriteArrayList<>();
		List<PushConsumer> members = new ArrayList<>();

		try (Producer p = producer(topic)) {
			for (int i = 0; i < 2; i++)
				members.add(PROVIDER.newPushConsumerBuilder().setClientConfiguration(proxy()).setConsumerGroup(group)
						.setSubscriptionExpressions(Map.of(topic, FilterExpression.SUB_ALL)).setConsumptionThreadCount(2)
						.setMessageListener(m -> {
							seen.add(text(m) + " attempt " + m.getDeliveryAttempt());
							return text(m).equals("m7") && m.getDeliveryAttempt() == 1 ? ConsumeResult.FAILURE : ConsumeResult.SUCCESS;
						}).build());
			for (int i = 0; i < 50; i++)
				p.send(message(topic, "T", "m" + i).build());
			World.await("all deliveries", () -> new TreeSet<>(seen).size() >= 51);
			w.outcome("came " + seen.size() + " times, m7 " + seen.stream().filter(s -> s.startsWith("m7 ")).sorted().toList());
		} finally {
			for (PushConsumer c : members)
				c.close();
		}
	}

	/** Messages of a group one after the other, also when one fails. */
	private static void fifo(World w) throws Exception {
		String topic = topic(w, "fifo", 2, "FIFO"), group = group(w, "fifo", true, 16);
		Map<String, List<String>> seen = new ConcurrentHashMap<>(Map.of("a", new CopyOnWriteArrayList<>(), "b",
				new CopyOnWriteArrayList<>()));

		try (Producer p = producer(topic)) {
			for (int i = 0; i < 4; i++)
				for (String g : List.of("a", "b"))
					p.send(message(topic, "T", g + i).setMessageGroup(g).build());
			PushConsumer c = PROVIDER.newPushConsumerBuilder().setClientConfiguration(proxy()).setConsumerGroup(group)
					.setSubscriptionExpressions(Map.of(topic, FilterExpression.SUB_ALL)).setMessageListener(m -> {
						seen.get(m.getMessageGroup().get()).add(text(m) + " attempt " + m.getDeliveryAttempt());
						return text(m).equals("a1") && m.getDeliveryAttempt() == 1 ? ConsumeResult.FAILURE : ConsumeResult.SUCCESS;
					}).build();

			try (c) {
				World.await("all deliveries", () -> seen.get("a").size() >= 5 && seen.get("b").size() >= 4);
			}
			w.outcome(new TreeMap<>(seen).toString());
		}
	}

	/** Delivered when it was asked for, and not before; or recalled. */
	private static void delay(World w) throws Exception {
		String topic = topic(w, "delay", 1, "DELAY"), group = group(w, "delay", false, 16);

		try (SimpleConsumer c = consumer(group, topic, FilterExpression.SUB_ALL); Producer p = producer(topic)) {
			long at = System.currentTimeMillis() + 15_000; /* a busy machine recalls before that */
			SendReceipt recalled = p.send(message(topic, "T", "recalled").setDeliveryTimestamp(at).build());

			p.send(message(topic, "T", "later").setDeliveryTimestamp(at).build());
			outcomeOf(w, "recall", () -> p.recallMessage(topic, recalled.getRecallHandle()));
			MessageView m = receive(c, 1, Duration.ofSeconds(30)).get(0);

			World.check(System.currentTimeMillis() >= at, "it came too soon");
			w.outcome(facts(m) + " delivery time " + m.getDeliveryTimestamp().isPresent());
			c.ack(m);
			w.outcome("then " + c.receive(16, Duration.ofSeconds(30)).size());
		}
	}

	/** Committed, rolled back, and left open until the checker is asked. */
	private static void transactions(World w) throws Exception {
		String topic = topic(w, "transactions", 2, "TRANSACTION"), group = group(w, "transactions", false, 16);
		List<String> asked = new CopyOnWriteArrayList<>();

		try (SimpleConsumer c = consumer(group, topic, FilterExpression.SUB_ALL);
				Producer p = PROVIDER.newProducerBuilder().setClientConfiguration(proxy()).setTopics(topic).setTransactionChecker(m -> {
					asked.add(text(m));
					/* On a busy machine it is asked of those, too, that are about to be ended: Apache's broker would commit both. */
					if (!text(m).startsWith("open"))
						return TransactionResolution.UNKNOWN;
					return text(m).endsWith("committed") ? TransactionResolution.COMMIT : TransactionResolution.ROLLBACK;
				}).build()) {
			for (String text : List.of("committed", "rolled back", "open, then committed", "open, then rolled back")) {
				Transaction t = p.beginTransaction();

				p.send(message(topic, "T", text).build(), t);
				if (text.equals("committed"))
					t.commit();
				else if (text.equals("rolled back"))
					t.rollback();
			}
			for (MessageView m : receive(c, 2, Duration.ofSeconds(60)))
				w.outcome(text(m) + " attempt " + m.getDeliveryAttempt());
			World.await("both checks", () -> asked.containsAll(List.of("open, then committed", "open, then rolled back")));
			w.outcome("then " + c.receive(16, Duration.ofSeconds(30)).size());
		}
	}

	private static void refused(World w) throws Exception {
		String topic = topic(w, "refused", 1, "NORMAL"), group = group(w, "refused", false, 16);

		outcomeOf(w, "producer of no topic", () -> producer(w.name("none")));
		try (Producer p = producer(topic)) {
			outcomeOf(w, "no topic", () -> p.send(message(w.name("none"), "T", "x").build()));
			outcomeOf(w, "delayed in a normal topic",
					() -> p.send(message(topic, "T", "x").setDeliveryTimestamp(System.currentTimeMillis() + 5_000).build()));
			outcomeOf(w, "too big", () -> p.send(message(topic, "T", "x".repeat(5 << 20)).build()));
			outcomeOf(w, "recall garbage", () -> p.recallMessage(topic, "garbage"));
		}
		outcomeOf(w, "consumer of no topic", () -> {
			try (SimpleConsumer c = consumer(group, w.name("none"), FilterExpression.SUB_ALL)) {
				return c.receive(1, Duration.ofSeconds(30));
			}
		});
		outcomeOf(w, "invisible for too short", () -> {
			try (SimpleConsumer c = consumer(group, topic, FilterExpression.SUB_ALL)) {
				return c.receive(1, Duration.ofMillis(10));
			}
		});
	}
}
