// SPDX-License-Identifier: Apache-2.0

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

import org.apache.rocketmq.filter.expression.EvaluationContext;
import org.apache.rocketmq.filter.expression.Expression;
import org.apache.rocketmq.filter.parser.SelectorParser;

/**
 * Fills filter_sql.txt with what Apache's own evaluator says:
 *
 *   java -cp "$(tests/interop/run server-jars)/*" tests/unit/broker/FilterTruth.java tests/unit/broker/filter_sql.txt
 *
 * Lines "> NAME=VALUE|NAME=VALUE" are messages. Every other line is results and an expression, with a tab between: one letter
 * for each message, T, F, N (null) or X (exception), or a single "!" when the expression does not parse. What stands before the
 * tab is written anew. \n, \r, \t, \f and \\ are escapes.
 */
public final class FilterTruth {
	private record Properties(Map<String, String> map) implements EvaluationContext {
		@Override
		public Object get(String name) {
			return map.get(name);
		}

		@Override
		public Map<String, Object> keyValues() {
			return new LinkedHashMap<>(map);
		}
	}

	private static String unescape(String s) {
		return s.translateEscapes();
	}

	private static Properties message(String line) {
		Map<String, String> map = new LinkedHashMap<>();

		for (String pair : line.split("\\|"))
			if (!pair.isEmpty())
				map.put(pair.substring(0, pair.indexOf('=')), unescape(pair.substring(pair.indexOf('=') + 1)));
		return new Properties(map);
	}

	private static char result(Expression e, Properties message) {
		try {
			Object value = e.evaluate(message);

			return value == null ? 'N' : Boolean.TRUE.equals(value) ? 'T' : 'F';
		} catch (Throwable t) {
			return 'X';
		}
	}

	private static String results(String expression, List<Properties> messages) {
		StringBuilder letters = new StringBuilder();

		try {
			Expression e = SelectorParser.parse(expression);

			messages.forEach(m -> letters.append(result(e, m)));
		} catch (Throwable t) {
			return "!";
		}
		return letters.toString();
	}

	public static void main(String[] args) throws Exception {
		Path path = Path.of(args[0]);
		List<Properties> messages = new ArrayList<>();
		List<String> lines = new ArrayList<>();

		for (String line : Files.readAllLines(path, StandardCharsets.UTF_8)) {
			if (line.startsWith("> ") || line.equals(">"))
				messages.add(message(line.substring(Math.min(2, line.length()))));
			if (line.contains("\t")) {
				String expression = line.substring(line.indexOf('\t') + 1);

				line = results(unescape(expression), messages) + "\t" + expression;
			}
			lines.add(line);
		}
		Files.write(path, lines, StandardCharsets.UTF_8);
	}
}
