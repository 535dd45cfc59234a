// SPDX-License-Identifier: Apache-2.0

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.UnaryOperator;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.tools.command.MQAdminStartup;

/**
 * Runs mqadmin's commands in one JVM: `java Mqadmin HOST:PORT PREFIX`. Lines as those of Interop.
 *
 * A command passes when its output has the wanted text; its outcome is the output without addresses, ids and times.
 */
public final class Mqadmin {
	/** Settings whose defaults clients and administrators meet. */
	private static final Set<String> SETTINGS = Set.of("brokerName", "brokerClusterName", "brokerId", "brokerIP1",
			"brokerPermission", "autoCreateTopicEnable", "autoCreateSubscriptionGroup", "defaultTopicQueueNums",
			"maxMessageSize", "flushDiskType", "fileReservedTime", "deleteWhen", "enablePropertyFilter",
			"longPollingEnable");

	/** Keys of brokerStatus that older brokers gave and exporters still ask for. */
	private static final Set<String> OLD_KEYS = Set.of("brokerVersion", "getTransferedTps");

	/** Topics that every broker has; Apache's also has some for its own bookkeeping. */
	private static final Set<String> SYSTEM_TOPICS = Set.of("BenchmarkTest", "DefaultCluster", "DefaultCluster_REPLY_TOPIC",
			"RMQ_SYS_TRANS_HALF_TOPIC", "SCHEDULE_TOPIC_XXXX", "SELF_TEST_TOPIC", "TBW102", "broker-a");

	private final String namesrv;
	private boolean allPass = true;

	private Mqadmin(String namesrv) {
		this.namesrv = namesrv;
	}

	private String output(String... command) {
		PrintStream out = System.out;
		PrintStream err = System.err;
		ByteArrayOutputStream text = new ByteArrayOutputStream();
		PrintStream capture = new PrintStream(text, true);
		String[] args = Arrays.copyOf(command, command.length + 2);

		args[command.length] = "-n";
		args[command.length + 1] = namesrv;
		System.setOut(capture);
		System.setErr(capture);
		try {
			MQAdminStartup.main0(args, null);
		} finally {
			System.setOut(out);
			System.setErr(err);
		}
		return text.toString();
	}

	/* ---- outcomes ---- */

	private static String plain(String output) {
		return output.lines()
				.filter(l -> !l.isBlank() && !l.startsWith("\tat ") && !l.startsWith("\t...") && !l.startsWith("See https:"))
				.map(l -> l.replaceAll("127\\.0\\.0\\.1:\\d+", "HOST:PORT")
						.replaceAll("\\b[0-9A-F]{32,}\\b", "ID")
						.replaceAll("\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d([,.]\\d+)?", "DATE")
						.replaceAll("\\b1[5-9]\\d{11}\\b", "TIME")
						.replaceAll("\\d+ms\\b", "Nms")
						.replaceAll("\\bV5_\\d+_\\d+\\b", "VERSION")
						.replaceAll("(storeSize=|[cC]ommitLog ?Offset[=:] *)\\d+", "$1N")
						.replaceAll("\\s+", " ").trim())
				.collect(Collectors.joining(" | "));
	}

	private static String sorted(String output) {
		return output.lines().filter(l -> !l.isBlank()).sorted().collect(Collectors.joining("\n"));
	}

	/** Without the topics and groups that other suites left on the server. */
	private static String mine(String output, World w) {
		return output.lines().filter(l -> l.contains(w.name("")) || l.startsWith("#") || SYSTEM_TOPICS.contains(l))
				.collect(Collectors.joining("\n"));
	}

	/** The first columns; the others are rates and fill levels. */
	private static String clusterColumns(String output) {
		return output.lines().filter(l -> !l.isBlank()).map(l -> {
			String[] c = l.trim().split(l.startsWith("#") ? "\\s+#" : "\\s+");
			return String.join(" ", Arrays.copyOf(c, Math.min(5, c.length)));
		}).collect(Collectors.joining("\n"));
	}

	private static String keys(String output) {
		return output.lines().map(l -> l.split(" *: ")[0].trim())
				.filter(k -> !k.isEmpty() && !k.contains("/") && !OLD_KEYS.contains(k))
				/* one for each delay level that another suite has used by now */
				.filter(k -> !k.startsWith("scheduleMessageOffset_")).sorted().collect(Collectors.joining("\n"));
	}

	private static String settings(String output) {
		var found = new TreeMap<String, String>();

		output.lines().map(l -> l.split(" *= *", 2)).filter(kv -> kv.length == 2 && SETTINGS.contains(kv[0].trim()))
				.forEach(kv -> found.put(kv[0].trim(), kv[1].trim()));
		return found.toString();
	}

	/* ---- steps ---- */

	/** Runs a command; `wanted` is a regular expression that its output must contain. */
	private String step(String name, String wanted, UnaryOperator<String> shown, String... command) {
		String output = output(command);

		System.out.println("case " + name + ": " + plain(shown.apply(output)));
		if (Pattern.compile(wanted, Pattern.DOTALL).matcher(output).find()) {
			System.out.println("ok - " + name);
		} else {
			System.out.println("not ok - " + name + ": the output lacks " + wanted);
			System.err.println(output);
			allPass = false;
		}
		return output;
	}

	private String step(String name, String wanted, String... command) {
		return step(name, wanted, UnaryOperator.identity(), command);
	}

	private static String first(String output, String regex) {
		Matcher m = Pattern.compile(regex).matcher(output);

		return m.find() ? m.group(1) : "not-found";
	}

	private void run(World w) throws Exception {
		String topic = w.name("topic");
		String group = w.name("group");

		step("clusterList", "DefaultCluster +broker-a +0 +" + w.broker, Mqadmin::clusterColumns, "clusterList");
		step("updateTopic", "create topic to .* success", "updateTopic", "-c", "DefaultCluster", "-t", topic,
				"-r", "4", "-w", "4");
		step("updateTopic-on-broker", "create topic to .* success", "updateTopic", "-b", w.broker, "-t", topic + "-2");
		step("updateTopic-bad-name", "illegal characters", "updateTopic", "-b", w.broker, "-t", "bad name");
		step("topicList", "(?m)^" + topic + "$", o -> sorted(mine(o, w)), "topicList");
		step("topicRoute", "\"readQueueNums\":4", "topicRoute", "-t", topic);
		step("topicRoute-unknown", "CODE: 17", "topicRoute", "-t", w.name("none"));
		step("topicClusterList", "DefaultCluster", "topicClusterList", "-t", topic);

		String ordered = w.name("ordered");

		step("updateTopic-ordered", "isOrder=true, orderConf=\\[broker-a:4\\]", "updateTopic", "-c", "DefaultCluster", "-t", ordered,
				"-r", "4", "-w", "4", "-o", "true");
		step("updateOrderConf-get", "orderConf=\\[broker-a:4\\]", "updateOrderConf", "-t", ordered, "-m", "get");
		step("topicRoute-ordered", "\"orderTopicConf\":\"broker-a:4\"", "topicRoute", "-t", ordered);
		step("updateOrderConf-put", "update orderConf success", "updateOrderConf", "-t", ordered, "-m", "put", "-v", "broker-a:2");
		step("topicRoute-reordered", "\"orderTopicConf\":\"broker-a:2\"", "topicRoute", "-t", ordered);
		step("updateOrderConf-delete", "delete orderConf success", "updateOrderConf", "-t", ordered, "-m", "delete");
		step("updateOrderConf-deleted", "No config item", "updateOrderConf", "-t", ordered, "-m", "get");

		String sent = step("sendMessage", "broker-a +1 +SEND_OK", "sendMessage", "-t", topic, "-p", "hello mqadmin",
				"-k", "mqadmin-key", "-c", "tagA", "-b", "broker-a", "-i", "1");
		String uniqueId = first(sent, "SEND_OK +([0-9A-F]{32,})");

		for (int i = 0; i < 3; i++) {
			Message m = World.message(topic, "tagB", "more " + i);

			m.setKeys("more-" + i);
			w.send(m, 2);
		}
		w.settle();
		step("topicStatus", "broker-a +2 +0 +3 ", "topicStatus", "-t", topic);

		String consumed = step("consumeMessage", "hello mqadmin", Mqadmin::sorted,
				"consumeMessage", "-t", topic, "-g", group);
		String offsetId = first(consumed, "msgId=([0-9A-F]{32})");

		/* Apache builds its index behind the send. */
		World.await("the index", () -> output("queryMsgByKey", "-t", topic, "-k", "mqadmin-key").contains(uniqueId));
		step("queryMsgByKey", uniqueId + " +1 +0", o -> o.replaceAll("(?m)(ID|[0-9A-F]{32,}) +1 +0 .*$", "$1 1 0 INDEX"),
				"queryMsgByKey", "-t", topic, "-k", "mqadmin-key");
		step("queryMsgById", "OffsetID: +" + offsetId, Mqadmin::messageFields, "queryMsgById", "-t", topic, "-i", offsetId);
		step("queryMsgByUniqueKey", "Keys: +\\[mqadmin-key\\]", Mqadmin::messageFields, "queryMsgByUniqueKey", "-t", topic,
				"-i", uniqueId);

		w.admin.updateConsumeOffset(w.broker, group, w.queue(topic, 2), 1);
		World.await("the end of what consumed", () -> {
			try {
				w.admin.examineConsumerConnectionInfo(group);
				return false;
			} catch (MQBrokerException e) {
				return true;
			}
		});
		step("consumerProgress", group + ".* 3\\s", o -> sorted(mine(o, w)), "consumerProgress");
		step("consumerProgress-group", "Diff Total: 3", o -> o.replaceAll("Consume TPS: [\\d.]+", "Consume TPS: N"),
				"consumerProgress", "-g", group);
		step("consumerProgress-unknown", "CODE: 17", "consumerProgress", "-g", w.name("nobody"));
		step("setConsumeMode", "set consume mode to .* success", "setConsumeMode", "-b", w.broker, "-t", topic, "-g", group, "-m", "POP",
				"-q", "2");
		step("setConsumeMode-unknown", "not exist", "setConsumeMode", "-b", w.broker, "-t", w.name("none"), "-g", group, "-m", "POP",
				"-q", "2");
		step("brokerStatus", "putTps", Mqadmin::keys, "brokerStatus", "-b", w.broker);
		step("getBrokerConfig", "brokerName += +broker-a", Mqadmin::settings, "getBrokerConfig", "-b", w.broker);

		trace(w);
		popping(w);

		step("deleteTopic", "delete topic .* from NameServer success", "deleteTopic", "-c", "DefaultCluster", "-t", topic);
		step("topicRoute-deleted", "CODE: 17", "topicRoute", "-t", topic);
	}

	/** A producer and a consumer that trace what they do: as messages of their own, which mqadmin finds by the traced message's id. */
	private void trace(World w) throws Exception {
		String topic = w.topic("traced", 1);
		DefaultMQProducer p = new DefaultMQProducer(w.name("tracing"), true, null);
		DefaultMQPushConsumer c = new DefaultMQPushConsumer(w.name("traced"), true, null);
		World.Inbox inbox = new World.Inbox();
		String id;

		p.setNamesrvAddr(w.namesrv);
		p.setInstanceName("tracing");
		c.setNamesrvAddr(w.namesrv);
		c.setInstanceName("traced");
		c.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
		c.subscribe(topic, "*");
		c.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
			messages.forEach(inbox::add);
			return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
		});
		p.start();
		c.start();
		try {
			id = p.send(World.message(topic, "A", "traced")).getMsgId();
			World.await("the traced message", () -> inbox.size() == 1);
			World.await("its traces", () -> {
				String found = output("queryMsgTraceById", "-i", id);

				return found.contains("Pub") && found.contains("Sub");
			});
		} finally {
			p.shutdown();
			c.shutdown();
		}
		step("queryMsgTraceById", "Pub +" + w.name("tracing"), o -> o.replaceAll("\\b\\d+\\.\\d+\\.\\d+\\.\\d+\\b", "HOST"),
				"queryMsgTraceById", "-i", id);
	}

	/** Client ids have the process's number and a time. */
	private static String withoutClients(String output) {
		return output.replaceAll("\\S+@popping\\S*", "CLIENT").replaceAll("\\d+\\.\\d+\\.\\d+\\.\\d+:\\d+", "HOST:PORT")
				.replaceAll("Consume TPS: [\\d.]+", "Consume TPS: N");
	}

	/** What is shown of a group that pops. */
	private void popping(World w) throws Exception {
		String topic = w.topic("popped", 2), group = w.name("popping");
		DefaultMQPushConsumer c = w.pushConsumer("popping", "popping");
		World.Inbox inbox = new World.Inbox();

		c.getClass().getMethod("setClientRebalance", boolean.class).invoke(c, false);
		c.setInstanceName("popping");
		c.subscribe(topic, "A || B");
		c.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
			messages.forEach(inbox::add);
			return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
		});
		step("setConsumeMode-popping", "set consume mode to .* success", "setConsumeMode", "-b", w.broker, "-t", topic, "-g", group, "-m",
				"POP", "-q", "0");
		c.start();
		try {
			for (int i = 0; i < 4; i++)
				w.send(World.message(topic, "A", "popped " + i), i % 2);
			World.await("the messages", () -> inbox.distinct() == 4);
			World.await("no lag", () -> w.lag("popping") == 0);
			step("consumerConnection-popping", "CONSUME_PASSIVELY", o -> sorted(withoutClients(o)), "consumerConnection", "-g", group);
			step("consumerProgress-popping", "Diff Total: 0", Mqadmin::withoutClients, "consumerProgress", "-g", group);
		} finally {
			c.shutdown();
		}
	}

	/** queryMsg... print a table of fields and then who consumed it, and store the body in a file named after the id. */
	private static String messageFields(String output) {
		List<String> varies = List.of("Store Host", "Born Host", "Message Body Path");

		return output.lines().filter(l -> varies.stream().noneMatch(l::startsWith))
				.collect(Collectors.joining("\n"));
	}

	public static void main(String[] args) {
		if (args.length != 2) {
			System.err.println("usage: java Mqadmin HOST:PORT PREFIX");
			System.exit(64);
		}
		Mqadmin mqadmin = new Mqadmin(args[0]);

		try (World w = new World(args[0], args[1])) {
			mqadmin.run(w);
		} catch (Exception e) {
			e.printStackTrace();
			System.exit(1); /* clients that still run would keep the JVM */
		}
		System.exit(mqadmin.allPass ? 0 : 1);
	}
}
