// SPDX-License-Identifier: Apache-2.0

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * Drives an unmodified rocketmq-client through the cases: `java Interop HOST:PORT PREFIX [CASE...]`.
 *
 * Each case prints `case NAME: what came of it`, comparable between servers, and `ok - NAME` or `not ok - NAME: why`. Exit
 * status 1 when a case failed.
 */
public final class Interop {
	interface Case {
		void run(World w) throws Exception;
	}

	private static final long CASE_DEADLINE_S = 60;

	private static Map<String, Case> cases() {
		Map<String, Case> all = new LinkedHashMap<>();

		SendCases.addTo(all);
		PullCases.addTo(all);
		FilterCases.addTo(all);
		QueryCases.addTo(all);
		RefusalCases.addTo(all);
		PushCases.addTo(all);
		TransactionCases.addTo(all);
		RetryCases.addTo(all);
		DelayCases.addTo(all);
		RequestCases.addTo(all);
		ResetCases.addTo(all);
		return all;
	}

	private static boolean passes(String name, Case c, World w, ExecutorService thread) throws Exception {
		Future<?> run = thread.submit(() -> {
			c.run(w);
			return null;
		});
		String why = null;

		try {
			run.get(CASE_DEADLINE_S, TimeUnit.SECONDS);
		} catch (TimeoutException e) {
			why = "not done after " + CASE_DEADLINE_S + " s";
			Thread.getAllStackTraces().forEach((t, frames) -> {
				if (t.getName().equals("case"))
					for (StackTraceElement f : frames)
						System.err.println("\tat " + f);
			});
			run.cancel(true);
		} catch (ExecutionException e) {
			why = e.getCause().toString().split("\n")[0];
			e.getCause().printStackTrace();
		}
		System.out.println("case " + name + ": " + (why == null ? w.takeOutcomes() : "failed"));
		System.out.println(why == null ? "ok - " + name : "not ok - " + name + ": " + why);
		w.takeOutcomes();
		return why == null;
	}

	public static void main(String[] args) throws Exception {
		if (args.length < 2) {
			System.err.println("usage: java Interop HOST:PORT PREFIX [CASE...]");
			System.exit(64);
		}
		Map<String, Case> cases = cases();
		boolean allPass = true;

		if (args.length > 2)
			cases.keySet().retainAll(java.util.Set.of(java.util.Arrays.copyOfRange(args, 2, args.length)));

		try (World w = new World(args[0], args[1])) {
			for (Map.Entry<String, Case> c : cases.entrySet()) {
				ExecutorService thread = Executors.newSingleThreadExecutor(r -> new Thread(r, "case"));

				allPass &= passes(c.getKey(), c.getValue(), w, thread);
				thread.shutdownNow();
			}
		}
		/* A client that a failed case left running would keep the JVM. */
		System.exit(allPass ? 0 : 1);
	}
}
