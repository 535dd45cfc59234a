// SPDX-License-Identifier: Apache-2.0

// Drives the unmodified Node client: main.js HOST:PORT PREFIX.
//
// Prints, like the Java cases, `case NAME: what came of it` and `ok - NAME` or `not ok - NAME: why`. The cases run side by side.
'use strict';

const assert = require('assert');
const { Consumer, Message, Producer } = require('ali-ons');

const DEADLINE_MS = 60 * 1000;
const KEYS = [ 'one', 'seven', 'eight', 'blue', 'green' ]; // of queues 1 to 3: the client takes queue 0 for none, and any will do

const [ namesrv, prefix ] = process.argv.slice(2);
if (!prefix) {
  console.error('usage: main.js HOST:PORT PREFIX');
  process.exit(64);
}
const clients = [];

// ---- clients ----

function options(instance) {
  return {
    nameSrv: namesrv,
    httpclient: {}, // it would ask for the NameServer's address
    logger: { debug() {}, info() {}, warn() {}, error: console.error },
    instanceName: `${prefix}-${instance}`,
    pollNameServerInteval: 1000,
    rebalanceInterval: 1000,
    heartbeatBrokerInterval: 1000,
  };
}

async function producer(instance) {
  const p = new Producer({ ...options(instance), producerGroup: `${prefix}-${instance}` });
  clients.push(p);
  await p.ready();
  return p;
}

// Hands each message to `take`, by its text; a take that throws sends the message back. `expression` as in subscribe().
function consumer(group, topic, expression, take, more = {}) {
  const c = new Consumer({ ...options(`${group}-consumer`), consumerGroup: `${prefix}-${group}`,
    consumeFromWhere: 'CONSUME_FROM_FIRST_OFFSET', ...more });
  clients.push(c);
  c.on('error', err => console.error(err.message)); // those on purpose, too, and that the retry topic is not there yet
  c.subscribe(topic, expression, async m => take(String(m.body), m));
  return c;
}

function message(topic, tag, text, keys) {
  const m = new Message(topic, tag, text);
  if (keys) m.keys = keys;
  return m;
}

async function send(p, m) {
  const result = await p.send(m);
  assert.strictEqual(result.sendStatus, 'SEND_OK');
  return result;
}

async function until(what, holds) {
  const end = Date.now() + DEADLINE_MS;
  while (!holds()) {
    assert(Date.now() < end, `waited ${DEADLINE_MS} ms for ${what}`);
    await new Promise(resolve => setTimeout(resolve, 20));
  }
}

// ---- outcomes ----

function histogram(values) {
  const counts = new Map();
  for (const v of values) counts.set(v, (counts.get(v) || 0) + 1);
  return [ ...counts ].map(([ v, n ]) => `${v}=${n}`).sort().join(' ');
}

// Without what is another in each run.
function properties(m) {
  const shown = { ...m.properties };
  for (const name of [ '', 'UNIQ_KEY', 'MIN_OFFSET', 'MAX_OFFSET', 'REAL_QID' ]) delete shown[name];
  if (shown.ORIGIN_MESSAGE_ID) shown.ORIGIN_MESSAGE_ID = 'ID';
  if (shown.__STARTDELIVERTIME) shown.__STARTDELIVERTIME = 'TIME';
  return Object.keys(shown).sort().map(name => `${name}=${shown[name]}`).join(' ');
}

// ---- cases ----

// Single sends round robin, some compressed; read by two groups, one of them by tag.
async function volume() {
  const topic = `${prefix}-volume`, count = 400, all = [], tagged = [], queues = [];
  const p = await producer('volume');
  const text = i => (i % 20 === 0 ? `node ${i} ${'compressible '.repeat(1000)}` : `node ${i}`);

  for (let i = 0; i < count; i++) {
    const result = await send(p, message(topic, i % 4 === 0 ? 'A' : 'B', text(i), [ `key-${i}`, 'common' ]));
    queues.push(result.messageQueue.queueId);
  }
  const take = list => (body, m) => { list.push(body); assert.strictEqual(m.keys, `key-${body.split(' ')[1]} common`); };
  consumer('volume-all', topic, '*', take(all));
  consumer('volume-tagged', topic, 'none || A', take(tagged));
  await until('all messages', () => all.length >= count && tagged.length >= count / 4);
  assert.strictEqual(new Set(all).size, count);
  for (let i = 0; i < count; i++) assert(all.includes(text(i)), `message ${i} is missing`);
  return `queue=messages ${histogram(queues)}; got ${all.length}, by tag ${tagged.length}`;
}

// Messages with one sharding key are in one queue, and come in the order of sending.
async function order() {
  const topic = `${prefix}-order`, steps = 20, places = [], got = new Map(KEYS.map(k => [ k, [] ]));
  const p = await producer('order');

  for (let step = 0; step < steps; step++) {
    for (const key of KEYS) {
      const m = message(topic, 'A', `${key} ${step}`);
      m.shardingKey = key;
      places.push(`${key}@${(await send(p, m)).messageQueue.queueId}`);
    }
  }
  let total = 0;
  consumer('order', topic, '*', body => {
    const [ key, step ] = body.split(' ');
    got.get(key).push(Number(step));
    total++;
  });
  await until('all steps', () => total >= steps * KEYS.length);
  for (const [ key, list ] of got) assert.deepStrictEqual(list, [ ...Array(steps).keys() ], `order of ${key}`);
  return `${[ ...new Set(places) ].sort().join(' ')}; in order ${total}`;
}

// A level; and the delivery time of Aliyun's service, which open source servers do not know.
async function delay() {
  const topic = `${prefix}-delay`, got = new Map();
  const p = await producer('delay');
  const later = message(topic, 'A', 'later'), aliyun = message(topic, 'A', 'a minute later');

  later.delayTimeLevel = 2;
  aliyun.setStartDeliverTime(Date.now() + 60 * 1000);
  await send(p, later);
  await send(p, aliyun);
  consumer('delay', topic, '*', (body, m) => got.set(body, m));
  await until('the later one', () => got.has('later') && got.has('a minute later'));
  const took = got.get('later').storeTimestamp - got.get('later').bornTimestamp;
  assert(took >= 5000, `it came after ${took} ms`);
  // On a busy machine both may be there before the consumer.
  const stored = [ ...got ].sort((a, b) => a[1].storeTimestamp - b[1].storeTimestamp);
  assert.strictEqual(stored[0][0], 'a minute later');
  return stored.map(([ body, m ]) => `${body}: ${properties(m)}`).join('; ');
}

// Fails twice, then is consumed; and one that always fails becomes a dead letter.
async function retry() {
  const topic = `${prefix}-retry`, seen = [], dead = [];
  const p = await producer('retry');

  consumer('retry', topic, '*', (body, m) => {
    seen.push(`${body} ${m.reconsumeTimes} ${m.topic}: ${properties(m)}`);
    if (body === 'hopeless' || m.reconsumeTimes < 2) throw new Error('on purpose');
  }, { maxReconsumeTimes: 3 });
  await send(p, message(topic, 'A', 'twice', [ 'k' ]));
  await send(p, message(topic, 'A', 'hopeless'));
  await until('the third and the fourth time', () => seen.length >= 7);
  consumer('dead', `%DLQ%${prefix}-retry`, '*', (body, m) => dead.push(`${body} ${m.reconsumeTimes}: ${properties(m)}`));
  await until('the dead letter', () => dead.length > 0);
  return `${seen.sort().join('; ')}; dead ${dead.join('; ')}`;
}

// SQL92 over the properties.
async function filter() {
  const topic = `${prefix}-filter`, got = [];
  const p = await producer('filter');

  for (let i = 0; i < 20; i++) {
    const m = message(topic, 'A', `n=${i}`);
    m.properties.n = String(i);
    if (i === 15) m.properties.color = 'blue';
    await send(p, m);
  }
  consumer('filter', topic, { expressionType: 'SQL92', subString: 'n BETWEEN 3 AND 6 OR color IS NOT NULL' }, body => got.push(body));
  await until('what matches', () => got.length >= 5);
  return got.sort().join(' ');
}

// Broadcasting: each of two members gets everything.
async function broadcast() {
  const topic = `${prefix}-broadcast`, count = 40, got = [ new Set(), new Set() ];
  const p = await producer('broadcast');

  for (let i = 0; i < count; i++) await send(p, message(topic, 'A', `${i}`));
  got.forEach((set, i) => consumer('broadcast', topic, '*', body => set.add(body),
    { isBroadcast: true, instanceName: `${prefix}-broadcast-${i}` }));
  await until('both', () => got.every(set => set.size === count));
  return `each got ${got.map(set => set.size).join(' and ')}`;
}

// ---- all of them ----

const cases = { volume, order, delay, retry, filter, broadcast };

async function run(name) {
  try {
    return `case node-${name}: ${await cases[name]()}\nok - node-${name}`;
  } catch (err) {
    process.exitCode = 1;
    console.error(err);
    return `case node-${name}: failed\nnot ok - node-${name}: ${String(err.message).split('\n')[0]}`;
  }
}

(async () => {
  console.log((await Promise.all(Object.keys(cases).map(run))).join('\n'));
  for (const c of clients) await c.close().catch(() => {});
  process.exit(); // the client's timers would keep it
})();
