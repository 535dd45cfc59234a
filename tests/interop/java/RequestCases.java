// SPDX-License-Identifier: Apache-2.0

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;

import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.RequestCallback;
import org.apache.rocketmq.client.producer.selector.SelectMessageQueueByHash;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Requests that a consumer answers with a message, which the broker hands to the producer that asked. */
final class RequestCases {
	private static final String REPLIES = "DefaultCluster_REPLY_TOPIC";
	private static final long WAIT_MS = 20_000;

	static void addTo(Map<String, Interop.Case> all) {
		all.put("request-reply", RequestCases::reply);
		all.put("request-unanswered", RequestCases::unanswered);
		all.put("request-asker-gone", RequestCases::askerGone);
	}

	/** Answers "x" with "re: x", in the listener. */
	private static DefaultMQPushConsumer answerer(World w, String topic) throws Exception {
		DefaultMQPushConsumer c = w.pushConsumer(topic, "answerer");

		c.subscribe(topic, "*");
		c.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
			for (MessageExt m : messages) {
				try {
					byte[] body = ("re: " + World.text(m)).getBytes(StandardCharsets.UTF_8);

					w.producer.send(MessageUtil.createReplyMessage(m, body), WAIT_MS);
				} catch (Exception e) {
					e.printStackTrace();
				}
			}
			return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
		});
		c.start();
		return c;
	}

	private static String callback(Attempt attempt) throws Exception {
		CompletableFuture<String> result = new CompletableFuture<>();

		attempt.run(new RequestCallback() {
			@Override
			public void onSuccess(Message m) {
				result.complete(World.text(m));
			}

			@Override
			public void onException(Throwable e) {
				result.complete(e.getClass().getSimpleName() + " " + e.getMessage());
			}
		});
		return result.get(WAIT_MS, TimeUnit.MILLISECONDS);
	}

	private interface Attempt {
		void run(RequestCallback callback) throws Exception;
	}

	private static long stored(World w) throws Exception {
		return w.producer.maxOffset(w.queue(REPLIES, 0));
	}

	private static void reply(World w) throws Exception {
		String topic = w.topic("request", 4);
		DefaultMQProducer p = w.producer("asker");
		DefaultMQPushConsumer c = answerer(w, topic);
		MessageQueue second = w.queue(topic, 2);

		p.start();
		try {
			long before = stored(w);
			Message first = World.message(topic, "A", "sync");
			Message answer = p.request(first, WAIT_MS);

			w.outcome(World.text(answer) + " on " + answer.getTopic() + " type " + answer.getProperty("MSG_TYPE") + " region "
					+ answer.getProperty("MSG_REGION") + " trace " + answer.getProperty("TRACE_ON") + " pushed "
					+ (answer.getProperty("PUSH_REPLY_TIME") != null) + " arrived " + (answer.getProperty("ARRIVE_TIME") != null));
			World.checkEqual(answer.getProperty("CORRELATION_ID"), first.getProperty("CORRELATION_ID"), "correlation id");
			w.outcome(World.text(p.request(World.message(topic, "A", "to a queue"), second, WAIT_MS)));
			w.outcome(World.text(p.request(World.message(topic, "A", "selected"), new SelectMessageQueueByHash(), "key", WAIT_MS)));
			w.outcome(callback(cb -> p.request(World.message(topic, "A", "async"), cb, WAIT_MS)));
			w.outcome(callback(cb -> p.request(World.message(topic, "A", "async to a queue"), second, cb, WAIT_MS)));
			w.outcome(callback(cb -> p.request(World.message(topic, "A", "async selected"), new SelectMessageQueueByHash(), "key",
					cb, WAIT_MS)));
			/* Above 4 KiB clients compress: the request on its way, and the reply as well. */
			String big = "x".repeat(10_000);
			World.checkEqual(World.text(p.request(World.message(topic, "A", big), WAIT_MS)), "re: " + big, "big reply");

			List<Thread> askers = new ArrayList<>();
			AtomicReference<String> wrong = new AtomicReference<>();
			for (int t = 0; t < 4; t++) {
				String name = "asker " + t + " number ";

				askers.add(new Thread(() -> {
					try {
						for (int i = 0; i < 25; i++)
							World.checkEqual(World.text(p.request(World.message(topic, "A", name + i), WAIT_MS)),
									"re: " + name + i, "reply");
					} catch (Throwable e) {
						wrong.set(e.toString());
					}
				}));
			}
			for (Thread t : askers)
				t.start();
			for (Thread t : askers)
				t.join();
			World.check(wrong.get() == null, wrong.get());
			World.await("the stored replies", () -> stored(w) >= before + 107);
			w.outcome("stored " + (stored(w) - before));
		} finally {
			c.shutdown();
			p.shutdown();
		}
	}

	private static void unanswered(World w) throws Exception {
		String topic = w.topic("unanswered", 1);

		w.outcomeOf("sync", () -> w.producer.request(World.message(topic, "A", "x"), 1_000));
		w.outcome("async: " + callback(cb -> w.producer.request(World.message(topic, "A", "x"), cb, 1_000)));
	}

	/** The reply to a producer that left, or to none: the sender hears of it; each attempt is stored. */
	private static void askerGone(World w) throws Exception {
		String topic = w.topic("asker-gone", 1);
		DefaultMQProducer p = w.producer("gone");

		p.start();
		World.check(thrown(() -> p.request(World.message(topic, "A", "x"), 2_000)).contains("Timeout"), "no timeout");
		MessageExt request = w.stored(topic, 1).get(0).get(0);
		p.shutdown();

		Message reply = MessageUtil.createReplyMessage(request, "too late".getBytes(StandardCharsets.UTF_8));
		long before = stored(w);

		w.outcome("reply for the client that asked: " + request.getProperty("REPLY_TO_CLIENT").endsWith("@gone"));
		w.outcomeOf("reply", () -> w.producer.send(reply, WAIT_MS).getSendStatus());
		World.await("the stored replies", () -> stored(w) >= before + 3);
		w.outcome("stored " + (stored(w) - before));
		w.outcome("reply to a queue: " + thrown(() -> w.producer.send(reply, w.queue(REPLIES, 0), WAIT_MS).getSendStatus())
				.split("\n")[0].replace(request.getProperty("REPLY_TO_CLIENT"), "CLIENT").replaceAll(" BROKER: .*", ""));
	}

	private static String thrown(World.Attempt attempt) {
		try {
			return String.valueOf(attempt.run());
		} catch (Exception e) {
			return e.toString();
		}
	}
}
