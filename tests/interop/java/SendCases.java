// SPDX-License-Identifier: Apache-2.0

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.client.producer.selector.SelectMessageQueueByHash;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;

/** The ways to send, each checked by reading the topic back. */
final class SendCases {
	private static final int QUEUES = 4;

	static void addTo(Map<String, Interop.Case> all) {
		all.put("send-sync", SendCases::sync);
		all.put("send-async", SendCases::async);
		all.put("send-oneway", SendCases::oneway);
		all.put("send-batch", SendCases::batch);
		all.put("send-batch-of-many", SendCases::batchOfMany);
		all.put("send-selector", SendCases::selector);
		all.put("send-transaction", SendCases::transaction);
		all.put("send-properties", SendCases::properties);
		all.put("send-compressed", SendCases::compressed);
		all.put("send-vip-port", SendCases::vipPort);
		all.put("send-creates-topic", SendCases::createsTopic);
	}

	private static void checkStored(World w, String topic, int count) throws Exception {
		var texts = new TreeSet<String>();
		int found = 0;

		for (List<MessageExt> queue : w.stored(topic, QUEUES).values()) {
			long next = 0;

			for (MessageExt m : queue) {
				World.checkEqual(m.getQueueOffset(), next++, "queue offset");
				texts.add(World.text(m));
				found++;
			}
		}
		World.checkEqual(found, count, "number of stored messages");
		World.checkEqual(texts.size(), count, "number of different messages");
		w.outcome("stored " + found);
	}

	private static void sync(World w) throws Exception {
		String topic = w.topic("sync", QUEUES);
		List<Integer> queues = new ArrayList<>();

		for (int i = 0; i < 20; i++) {
			SendResult r = w.send(World.message(topic, "A", "sync " + i));
			var id = MessageDecoder.decodeMessageId(r.getOffsetMsgId());

			World.checkEqual(id.getAddress().toString(), "/" + w.broker, "address in the offset id");
			World.checkEqual(r.getRegionId(), "DefaultRegion", "region");
			queues.add(r.getMessageQueue().getQueueId());
		}
		w.outcome("queue=messages " + World.histogram(queues));
		checkStored(w, topic, 20);
	}

	private static void async(World w) throws Exception {
		String topic = w.topic("async", QUEUES);
		int count = 200;
		CountDownLatch done = new CountDownLatch(count);
		ConcurrentLinkedQueue<String> results = new ConcurrentLinkedQueue<>();

		for (int i = 0; i < count; i++)
			w.producer.send(World.message(topic, "A", "async " + i), new SendCallback() {
				@Override
				public void onSuccess(SendResult r) {
					results.add(r.getSendStatus().toString());
					done.countDown();
				}

				@Override
				public void onException(Throwable e) {
					results.add(e.toString());
					done.countDown();
				}
			});
		World.check(done.await(30, TimeUnit.SECONDS), done.getCount() + " answers are missing");
		w.outcome(World.histogram(results));
		checkStored(w, topic, count);
	}

	private static void oneway(World w) throws Exception {
		String topic = w.topic("oneway", QUEUES);
		int count = 50;

		for (int i = 0; i < count; i++)
			w.producer.sendOneway(World.message(topic, "A", "oneway " + i));
		World.await("the one-way messages", () -> sum(w, topic) == count);
		checkStored(w, topic, count);
	}

	private static void batch(World w) throws Exception {
		String topic = w.topic("batch", QUEUES);
		List<Message> batch = new ArrayList<>();

		for (int i = 0; i < 30; i++) {
			Message m = World.message(topic, i % 2 == 0 ? "A" : "B", "batch " + i);

			m.setKeys("batch-key-" + i);
			m.putUserProperty("number", "" + i);
			batch.add(m);
		}
		SendResult r = w.sent(w.producer.send(batch, w.queue(topic, 2)));

		World.checkEqual(r.getMsgId().split(",").length, 30, "number of unique ids");
		World.checkEqual(r.getOffsetMsgId().split(",").length, 30, "number of offset ids");
		World.checkEqual(r.getQueueOffset(), 0L, "offset of the first");

		List<MessageExt> stored = w.stored(topic, QUEUES).get(2);
		for (int i = 0; i < 30; i++) {
			MessageExt m = stored.get(i);

			World.checkEqual(World.text(m), "batch " + i, "body");
			World.checkEqual(m.getTags(), i % 2 == 0 ? "A" : "B", "tag");
			World.checkEqual(m.getKeys(), "batch-key-" + i, "key");
			World.checkEqual(m.getMsgId(), r.getMsgId().split(",")[i], "unique id");
		}
		w.outcome("properties " + new TreeSet<>(stored.get(0).getProperties().keySet()));
		checkStored(w, topic, 30);
	}

	/** A megabyte of small messages. */
	private static void batchOfMany(World w) throws Exception {
		String topic = w.topic("batch-of-many", 1);
		int count = 12_000;
		List<Message> batch = new ArrayList<>();

		for (int i = 0; i < count; i++) {
			Message m = World.message(topic, "A", "number " + i);

			m.setKeys("number-" + i);
			batch.add(m);
		}
		SendResult r = w.sent(w.producer.send(batch, w.queue(topic, 0)));

		w.outcome("ids " + r.getMsgId().split(",").length + " and " + r.getOffsetMsgId().split(",").length);
		List<MessageExt> stored = w.stored(topic, 1).get(0);

		for (int i = 0; i < count; i++)
			World.checkEqual(World.text(stored.get(i)), "number " + i, "body");
		w.outcome(stored.size() + " in order");
	}

	private static void selector(World w) throws Exception {
		String topic = w.topic("selector", QUEUES);
		List<String> places = new ArrayList<>();

		for (int i = 0; i < 24; i++) {
			String order = "order-" + i % 6;
			SendResult r = w.sent(w.producer.send(World.message(topic, "A", order + " step " + i / 6),
					new SelectMessageQueueByHash(), order));

			places.add(order + "@" + r.getMessageQueue().getQueueId());
		}
		w.outcome(World.histogram(places));
		checkStored(w, topic, 24);
	}

	private static void transaction(World w) throws Exception {
		String topic = w.topic("transaction", QUEUES);
		TransactionMQProducer p = w.set(new TransactionMQProducer(w.name("transactions")), "transactions");

		p.setTransactionListener(new TransactionListener() {
			@Override
			public LocalTransactionState executeLocalTransaction(Message m, Object arg) {
				return (LocalTransactionState) arg;
			}

			@Override
			public LocalTransactionState checkLocalTransaction(MessageExt m) {
				return LocalTransactionState.UNKNOW;
			}
		});
		p.start();
		try {
			List<String> states = new ArrayList<>();

			for (int i = 0; i < 10; i++) {
				LocalTransactionState state = i % 2 == 0 ? LocalTransactionState.COMMIT_MESSAGE
						: LocalTransactionState.ROLLBACK_MESSAGE;
				var r = p.sendMessageInTransaction(World.message(topic, "A", state + " " + i), state);

				World.checkEqual(r.getSendStatus(), SendStatus.SEND_OK, "send status");
				states.add(r.getLocalTransactionState().toString());
			}
			w.outcome(World.histogram(states));
			/* The end of a transaction is sent one-way. */
			World.await("the committed messages", () -> sum(w, topic) >= 5);
		} finally {
			p.shutdown();
		}
		for (List<MessageExt> queue : w.stored(topic, QUEUES).values())
			for (MessageExt m : queue)
				World.check(World.text(m).startsWith("COMMIT_MESSAGE"), World.text(m) + " is stored");
		checkStored(w, topic, 5);
	}

	private static long sum(World w, String topic) throws Exception {
		long sum = 0;

		for (int id = 0; id < QUEUES; id++)
			sum += w.producer.maxOffset(w.queue(topic, id));
		return sum;
	}

	private static void properties(World w) throws Exception {
		String topic = w.topic("properties", QUEUES);
		Message m = World.message(topic, "t\u00e4g", "b\u00f6dy \u4f60\u597d \ud83d\ude00");

		m.setKeys("k1 k2");
		m.setFlag(42);
		m.setBuyerId("buyer");
		m.putUserProperty("colour", "gr\u00fcn");
		m.putUserProperty("a blank inside", "one two");
		w.send(m, 1);

		MessageExt got = w.stored(topic, QUEUES).get(1).get(0);
		Map<String, String> left = new java.util.TreeMap<>(got.getProperties());

		World.checkEqual(World.text(got), World.text(m), "body");
		World.checkEqual(got.getFlag(), 42, "flag");
		World.check(left.remove("UNIQ_KEY") != null, "there is no unique id");
		World.check(got.getStoreTimestamp() >= got.getBornTimestamp(), "stored before it was born");
		World.checkEqual(got.getBornHostString(), "127.0.0.1", "born host");
		w.outcome("properties " + left);
		w.outcome("flag " + got.getFlag() + " sysFlag " + got.getSysFlag());
	}

	private static void compressed(World w) throws Exception {
		String topic = w.topic("compressed", QUEUES);
		String body = "compressible ".repeat(10_000);

		w.send(World.message(topic, "A", body), 0);

		MessageExt got = w.stored(topic, QUEUES).get(0).get(0);
		World.checkEqual(World.text(got), body, "body");
		World.check(got.getStoreSize() < 10_000, "stored in " + got.getStoreSize() + " bytes");
		w.outcome("sysFlag " + got.getSysFlag() + " bodyCRC " + got.getBodyCRC());
	}

	/** Clients may use the listener two ports below, which Apache calls the fast or VIP channel. */
	private static void vipPort(World w) throws Exception {
		String topic = w.topic("vip", QUEUES);
		DefaultMQProducer vip = w.producer("vip");

		vip.setVipChannelEnabled(true);
		vip.start();
		try {
			for (int i = 0; i < 10; i++)
				w.sent(vip.send(World.message(topic, "A", "vip " + i)));
		} finally {
			vip.shutdown();
		}
		checkStored(w, topic, 10);
	}

	private static void createsTopic(World w) throws Exception {
		String topic = w.name("created-by-send");

		/* The answer comes when the NameServer knows the topic. */
		w.send(World.message(topic, "A", "the first"));
		var queues = w.admin.examineTopicRouteInfo(topic).getQueueDatas().get(0);
		w.outcome("read " + queues.getReadQueueNums() + " write " + queues.getWriteQueueNums() + " perm "
				+ queues.getPerm());
		checkStored(w, topic, 1);
	}
}
