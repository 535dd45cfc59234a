// SPDX-License-Identifier: Apache-2.0

import java.io.IOException;
import java.net.Socket;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;

import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.client.producer.TransactionSendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.RemotingSysResponseCode;

/**
 * Pressure: a disk that stands still, and clients that ask for more than their share.
 *
 * broker-c syncs the disk before it answers, and says so when that takes longer than syncFlushTimeout. INTEROP_GATE is the beginning of
 * two paths: while INTEROP_GATE.sync exists, no sync of its log comes back, and while INTEROP_GATE.write exists, no write to it.
 */
final class PressureCases {
	private static final String BROKER = "broker-c";
	private static final int PULL_MESSAGE = 11; /* RequestCode is elsewhere in each generation of the client */

	static void addTo(Map<String, Interop.Case> all) {
		all.put("pressure-sync-stands", PressureCases::syncStands);
		all.put("pressure-write-hangs", PressureCases::writeHangs);
		all.put("pressure-flood", PressureCases::flood);
		all.put("pressure-unread", PressureCases::unread);
		all.put("pressure-parked", PressureCases::parked);
		all.put("pressure-other-broker", PressureCases::otherBroker);
	}

	/** The disk of broker-c stands still until this is closed. */
	private static final class Gate implements AutoCloseable {
		private final Path file;

		Gate(String call) throws IOException {
			String gate = System.getenv("INTEROP_GATE");

			World.check(gate != null, "INTEROP_GATE names no path");
			file = Files.createFile(Path.of(gate + "." + call));
		}

		@Override
		public void close() throws IOException {
			Files.deleteIfExists(file);
		}
	}

	/** What producers were told of the messages of a topic of one queue. */
	private static final class Ledger {
		final MessageQueue queue;
		private final Set<String> stored = ConcurrentHashMap.newKeySet();
		private final AtomicInteger count = new AtomicInteger();

		Ledger(MessageQueue queue) {
			this.queue = queue;
		}

		Message next(String text) {
			return World.message(queue.getTopic(), "A", text + " " + count.incrementAndGet());
		}

		String told(Message m, SendResult r) {
			stored.add(World.text(m));
			return r.getSendStatus().toString();
		}

		String send(DefaultMQProducer p, Message m) throws Exception {
			return told(m, p.send(m, queue));
		}

		/** A broker whose disk has just been late may refuse; then nothing is stored. */
		void sendUntilOk(DefaultMQProducer p, String text) throws Exception {
			World.await("SEND_OK", () -> {
				try {
					return send(p, next(text)).equals("SEND_OK");
				} catch (MQBrokerException e) {
					World.checkEqual(e.getResponseCode(), RemotingSysResponseCode.SYSTEM_BUSY, "the code");
					return false;
				}
			});
		}

		CompletableFuture<String> sendAsync(DefaultMQProducer p, Message m) throws Exception {
			CompletableFuture<String> answer = new CompletableFuture<>();

			p.send(m, queue, new SendCallback() {
				@Override
				public void onSuccess(SendResult r) {
					answer.complete(told(m, r));
				}

				@Override
				public void onException(Throwable e) {
					if (e instanceof MQBrokerException)
						answer.complete(refusal((MQBrokerException) e));
					else
						answer.completeExceptionally(e);
				}
			});
			return answer;
		}

		/** Everything that was said to be stored reaches a group, once, and nothing else. */
		void outcome(World w, String group, DefaultMQProducer p) throws Exception {
			World.Inbox inbox = new World.Inbox();
			DefaultMQPushConsumer c = w.pushConsumer(group, "all");

			c.subscribe(queue.getTopic(), "*");
			c.registerMessageListener(BrokerCases.into(inbox));
			c.start();
			try {
				World.await("all messages", () -> inbox.texts().containsAll(stored));
				World.await("the end of the queue", () -> inbox.size() >= p.maxOffset(queue));
			} finally {
				c.shutdown();
			}
			List<String> wanted = new ArrayList<>(new TreeSet<>(stored)), came = new ArrayList<>(inbox.order());

			came.sort(null);
			World.checkEqual(came, wanted, "what came");
			w.outcome("all came once");
		}
	}

	/** The code, and the beginning of the remark: the rest of it tells what this very server is waiting for. */
	private static String refusal(MQBrokerException e) {
		return "code " + e.getResponseCode() + " " + e.getErrorMessage().split("]")[0] + "]";
	}

	/** A producer and a consumer on one connection. */
	private static final class Client implements AutoCloseable {
		final DefaultMQProducer producer;
		final DefaultMQPullConsumer puller;

		Client(World w, String name) throws Exception {
			producer = w.producer(name);
			producer.start();
			puller = new DefaultMQPullConsumer(w.name(name));
			puller.setNamesrvAddr(w.namesrv);
			puller.setInstanceName(name);
			puller.start();
		}

		/** With a group and a topic for its retries, which are rows of their own. */
		void introduce(Ledger ledger) throws Exception {
			ledger.sendUntilOk(producer, "before");
			seen(ledger);
			producer.getDefaultMQProducerImpl().getMqClientFactory().sendHeartbeatToAllBrokerWithLock();
		}

		/** Up to 32 messages, from the first on. */
		List<String> seen(Ledger ledger) throws Exception {
			var r = puller.pull(ledger.queue, "*", 0, 32);
			List<String> texts = new ArrayList<>();

			if (r.getPullStatus() == PullStatus.FOUND)
				for (MessageExt m : r.getMsgFoundList())
					texts.add(World.text(m));
			return texts;
		}

		@Override
		public void close() {
			puller.shutdown();
			producer.shutdown();
		}
	}

	/* ---- a sync of the disk that does not come back ---- */

	private static final class Unasked implements TransactionListener {
		final AtomicInteger executed = new AtomicInteger();

		@Override
		public LocalTransactionState executeLocalTransaction(Message m, Object arg) {
			executed.incrementAndGet();
			return LocalTransactionState.COMMIT_MESSAGE;
		}

		/* The end of the transaction may have been lost to the client's haste. */
		@Override
		public LocalTransactionState checkLocalTransaction(MessageExt m) {
			return LocalTransactionState.ROLLBACK_MESSAGE;
		}
	}

	/** What the disk does not have in time is stored all the same, and its producer is told. */
	private static void syncStands(World w) throws Exception {
		Ledger ledger = new Ledger(new MessageQueue(BrokerCases.topic(w, "sync", 1, BROKER), BROKER, 0));
		TransactionMQProducer t = w.set(new TransactionMQProducer(w.name("sync-transactions")), "sync-transactions");
		Unasked listener = new Unasked();

		t.setTransactionListener(listener);
		t.start();
		try (Client c = new Client(w, "sync")) {
			c.introduce(ledger);
			ledger.sendUntilOk(t, "connects");
			try (Gate gate = new Gate("sync")) {
				List<String> statuses = new ArrayList<>();
				Message m = ledger.next("asynchronous"), first = ledger.next("batch"), second = ledger.next("batch");

				for (int i = 0; i < 3; i++)
					statuses.add(ledger.send(c.producer, ledger.next("late")));
				w.outcome("synchronous " + World.histogram(statuses));
				w.outcome("consumers get of them " + c.seen(ledger).stream().filter(text -> text.startsWith("late")).count());
				w.outcome("asynchronous " + ledger.sendAsync(c.producer, m).get(60, TimeUnit.SECONDS));
				SendResult r = c.producer.send(List.of(first, second), ledger.queue);
				ledger.told(first, r);
				w.outcome("batch " + ledger.told(second, r));
				m = ledger.next("not waiting");
				m.setWaitStoreMsgOK(false);
				w.outcome("not waiting for the disk " + ledger.send(c.producer, m));
				TransactionSendResult half = t.sendMessageInTransaction(ledger.next("half"), null);
				w.outcome("transaction " + half.getSendStatus() + " " + half.getLocalTransactionState() + ", executed " + listener.executed);
			}
			ledger.sendUntilOk(c.producer, "after");
			w.outcome("then SEND_OK");
			ledger.outcome(w, "sync-all", c.producer);
		} finally {
			t.shutdown();
		}
	}

	/** A producer may ask for another broker where the disk is in time; the message is then in both places. */
	private static void otherBroker(World w) throws Exception {
		String topic = BrokerCases.topic(w, "other", 1, BROKER, "broker-a");
		Ledger ledger = new Ledger(new MessageQueue(topic, BROKER, 0));

		BrokerCases.writable.lock();
		try (Client c = new Client(w, "other")) {
			World.await("both brokers", () -> c.producer.fetchPublishMessageQueues(topic).size() == 2);
			c.introduce(ledger);
			long before = c.producer.maxOffset(ledger.queue);

			try (Gate gate = new Gate("sync")) {
				Set<String> places = new TreeSet<>();

				for (int i = 0; i < 2; i++) {
					SendResult r = c.producer.send(ledger.next("stays"));

					places.add(r.getMessageQueue().getBrokerName() + " " + r.getSendStatus());
				}
				w.outcome("as it is: " + places);
				places.clear();
				c.producer.setRetryAnotherBrokerWhenNotStoreOK(true);
				for (int i = 0; i < 3; i++) {
					SendResult r = c.producer.send(ledger.next("moves"));

					places.add(r.getMessageQueue().getBrokerName() + " " + r.getSendStatus());
				}
				w.outcome("with retryAnotherBrokerWhenNotStoreOK: " + places);
			}
			/* Of those that moved, each second one at least began at broker-c. */
			World.await("the messages at broker-a", () -> c.producer.maxOffset(new MessageQueue(topic, "broker-a", 0)) == 4);
			World.await("the messages at broker-c", () -> c.producer.maxOffset(ledger.queue) - before >= 2);
		} finally {
			BrokerCases.writable.unlock();
		}
	}

	/* ---- a write that hangs ---- */

	private static final int CLIENTS = 6;

	/** Whose turn it is to write waits, and perhaps others do behind it; the rest is refused, and reads. */
	private static void writeHangs(World w) throws Exception {
		Ledger ledger = new Ledger(new MessageQueue(BrokerCases.topic(w, "hangs", 1, BROKER), BROKER, 0));
		List<CompletableFuture<String>> answers = new ArrayList<>();
		List<Client> clients = new ArrayList<>();
		Client refused = null;

		try {
			for (int i = 0; i < CLIENTS; i++) {
				clients.add(new Client(w, "hangs-" + i));
				clients.get(i).producer.setSendMsgTimeout(60_000);
				clients.get(i).introduce(ledger);
			}
			try (Gate gate = new Gate("write")) {
				answers.add(ledger.sendAsync(clients.get(0).producer, ledger.next("hangs")));
				refused = clients.get(awaitRefusal(ledger, clients, answers));
				Client r = refused;

				/* Clients of version 5 try other brokers first, of which there are none. */
				try {
					w.outcome("sent " + r.producer.send(ledger.next("refused")).getSendStatus());
				} catch (MQBrokerException e) {
					w.outcome("at once " + refusal(e));
				} catch (MQClientException e) {
					w.outcome("in the end client code " + e.getResponseCode() + ", " + refusal((MQBrokerException) e.getCause()));
				}
				try {
					w.outcome("to the queue " + ledger.send(r.producer, ledger.next("refused")));
				} catch (MQBrokerException e) {
					w.outcome("to the queue " + refusal(e));
				}
				w.outcome("reads " + (r.seen(ledger).size() >= CLIENTS));
			}
			Set<String> told = new TreeSet<>();

			/* Either says that it is stored: after so long, a sync may take long, too. */
			for (var a : answers)
				told.add(a.get(60, TimeUnit.SECONDS).replace("FLUSH_DISK_TIMEOUT", "SEND_OK"));
			w.outcome("told " + told);
			ledger.sendUntilOk(refused.producer, "after");
			ledger.outcome(w, "hangs-all", refused.producer);
		} finally {
			clients.forEach(Client::close);
		}
	}

	/** Returns who was refused. What comes at first waits with the one that hangs. */
	private static int awaitRefusal(Ledger ledger, List<Client> clients, List<CompletableFuture<String>> answers) throws Exception {
		int[] refused = {0};

		World.await("a refusal", () -> {
			for (int i = 1; i < answers.size() && refused[0] == 0; i++)
				if (answers.get(i).isDone() && answers.get(i).get().startsWith("code "))
					refused[0] = (i - 1) % (CLIENTS - 1) + 1;
			for (int i = 1; i < CLIENTS && refused[0] == 0; i++)
				answers.add(ledger.sendAsync(clients.get(i).producer, ledger.next("waits or is refused")));
			return refused[0] > 0;
		});
		return refused[0];
	}

	/* ---- clients that want more than their share ---- */

	private static final String BUSY = "broker-a";
	private static final int POLITE = 20;

	/** Sends and reads, one after the other, as if it were alone, and until the others had their turn, too. */
	private static void polite(World w, String name, World.Condition beside) throws Exception {
		Ledger ledger = new Ledger(new MessageQueue(BrokerCases.topic(w, name, 1, BUSY), BUSY, 0));
		int n = 0;

		try (Client c = new Client(w, name)) {
			for (; n < POLITE || !beside.holds(); n++) {
				Message m = ledger.next("polite");

				World.checkEqual(ledger.send(c.producer, m), "SEND_OK", "the status");
				long at = n;
				World.await("the message", () -> {
					var r = c.puller.pull(ledger.queue, "*", at, 32);

					return r.getPullStatus() == PullStatus.FOUND && World.text(r.getMsgFoundList().get(0)).equals(World.text(m));
				});
			}
		}
		w.outcome("beside it, " + POLITE + " messages are sent and read, one after the other");
	}

	/** Always five hundred messages under way. */
	private static void flood(World w) throws Exception {
		Ledger ledger = new Ledger(new MessageQueue(BrokerCases.topic(w, "flood", 4, BUSY), BUSY, 0));
		Semaphore underWay = new Semaphore(500);
		AtomicInteger answered = new AtomicInteger(), failed = new AtomicInteger();
		DefaultMQProducer p = w.producer("flood");
		boolean[] ends = {false};
		Thread greedy = new Thread(() -> {
			SendCallback callback = new SendCallback() {
				@Override
				public void onSuccess(SendResult r) {
					answered.incrementAndGet();
					underWay.release();
				}

				@Override
				public void onException(Throwable e) {
					failed.incrementAndGet();
					underWay.release();
				}
			};

			try {
				for (int i = 0; !isSet(ends); i++) {
					underWay.acquire();
					p.send(World.message(ledger.queue.getTopic(), "A", "one of very many"),
							new MessageQueue(ledger.queue.getTopic(), BUSY, i % 4), callback);
				}
				underWay.acquire(500);
			} catch (Exception e) {
				failed.incrementAndGet();
			}
		});

		p.start();
		try {
			greedy.start();
			World.await("the flood", () -> answered.get() > 500);
			int before = answered.get();
			polite(w, "beside-flood", () -> answered.get() > before);
		} finally {
			set(ends);
			greedy.join(60_000);
			p.shutdown();
		}
		w.outcome("of the flood failed " + failed);
		World.check(!greedy.isAlive(), "the flood does not end");
	}

	private static synchronized boolean isSet(boolean[] flag) {
		return flag[0];
	}

	private static synchronized void set(boolean[] flag) {
		flag[0] = true;
	}

	/** A client that asks and reads no answer. */
	private static final class Mute implements AutoCloseable {
		private final Socket socket;

		Mute(World w) throws Exception {
			String[] address = w.admin.examineBrokerClusterInfo().getBrokerAddrTable().get(BUSY).getBrokerAddrs().get(0L).split(":");

			socket = new Socket(address[0], Integer.parseInt(address[1]));
		}

		/** Whoever does not read may not be read from any more, so this does not wait. */
		void pull(World w, MessageQueue q, long from, boolean isParked, int times) {
			Thread thread = new Thread(() -> {
				try {
					for (int i = 0; i < times; i++) {
						ByteBuffer frame = request(w, q, from, isParked).encode();

						socket.getOutputStream().write(frame.array(), frame.position(), frame.remaining());
					}
				} catch (IOException e) {
					/* closed */
				}
			});

			thread.setDaemon(true);
			thread.start();
		}

		private static RemotingCommand request(World w, MessageQueue q, long from, boolean isParked) {
			RemotingCommand c = RemotingCommand.createRequestCommand(PULL_MESSAGE, null);

			c.addExtField("consumerGroup", w.name("mute"));
			c.addExtField("topic", q.getTopic());
			c.addExtField("queueId", Integer.toString(q.getQueueId()));
			c.addExtField("queueOffset", Long.toString(from));
			c.addExtField("maxMsgNums", "32");
			c.addExtField("sysFlag", isParked ? "6" : "4"); /* 4: with a subscription, 2: may wait */
			c.addExtField("commitOffset", "0");
			c.addExtField("suspendTimeoutMillis", isParked ? "60000" : "0");
			c.addExtField("subscription", "*");
			c.addExtField("subVersion", "0");
			return c;
		}

		boolean isAnswered() throws IOException {
			return socket.getInputStream().available() > 0;
		}

		@Override
		public void close() throws IOException {
			socket.close();
		}
	}

	private static void unread(World w) throws Exception {
		MessageQueue q = new MessageQueue(BrokerCases.topic(w, "unread", 1, BUSY), BUSY, 0);
		Message m = new Message(q.getTopic(), new byte[128 << 10]);

		try (Client c = new Client(w, "unread"); Mute mute = new Mute(w)) {
			c.producer.setCompressMsgBodyOverHowmuch(Integer.MAX_VALUE);
			w.sent(c.producer.send(m, q));
			w.settle();
			mute.pull(w, q, 0, false, 400); /* 50 MiB */
			World.await("an answer", mute::isAnswered);
			polite(w, "beside-unread", () -> true);
			w.outcome("nobody read " + mute.isAnswered());
		}
	}

	private static void parked(World w) throws Exception {
		MessageQueue q = new MessageQueue(BrokerCases.topic(w, "parked", 1, BUSY), BUSY, 0);

		try (Client c = new Client(w, "parked"); Mute mute = new Mute(w)) {
			w.sent(c.producer.send(World.message(q.getTopic(), "A", "first"), q));
			w.settle();
			mute.pull(w, q, 1, true, 2_000);
			polite(w, "beside-parked", () -> true);
			w.outcome("answered " + mute.isAnswered());
			w.sent(c.producer.send(World.message(q.getTopic(), "A", "wakes them"), q));
			World.await("an answer", mute::isAnswered);
			w.outcome("woken");
		}
	}
}
