// Random histories of 2 to 8 clients, ours and Yjs mixed: updates shuffled, doubled, lost and merged,
// losses made good by state vectors; at the end, and whenever nothing is missing, all have the same
// text, map and state vector, and each can load what any other has written.
//
//   node crdt_histories.mjs DRIVER [HISTORIES [FIRST_SEED]]
//
// Each of our replicas has a shadow: a Yjs document that gets the same updates at the same time, so
// every single step is compared, not only the end.
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import * as Y from 'yjs'
import * as decoding from 'lib0/decoding'
import * as encoding from 'lib0/encoding'

const [driver, count = '200', first = '1'] = process.argv.slice(2)

// ---- the driver, one line there, one line back
const child = spawn(driver, { stdio: ['pipe', 'pipe', 'inherit'] })
const waiting = []
createInterface({ input: child.stdout }).on('line', line => waiting.shift()(line))
child.on('exit', code => { if (waiting.length > 0 || code !== 0) { console.error(`driver ended with ${code}, seed ${seed}`); process.exit(1) } })
const ask = async (...words) => {
  const line = await new Promise(resolve => { waiting.push(resolve); child.stdin.write(words.join(' ') + '\n') })
  if (line.startsWith('!')) throw new Error(`${words.slice(0, 3).join(' ')}: ${line}`)
  return line
}
const hex = bytes => bytes.length === 0 ? '-' : Buffer.from(bytes).toString('hex')
const unhex = text => text === '-' || text === '' ? new Uint8Array(0) : new Uint8Array(Buffer.from(text, 'hex'))

// ---- randomness
let seed = 0
let state = 0
const random = n => { // mulberry32
  state = (state + 0x6D2B79F5) | 0
  let t = Math.imul(state ^ (state >>> 15), 1 | state)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) % n
}
const pick = list => list[random(list.length)]
const words = ['a', 'b', '\n', ' ', 'word', '😀', '👩‍👩‍👧', 'é', '日本', 'two\nlines', '𝒳', 'x'.repeat(40)]
const border = (text, at) => at > 0 && at < text.length && text.charCodeAt(at) >= 0xDC00 && text.charCodeAt(at) < 0xE000 ? at - 1 : at

const assert = (cond, what) => { if (!cond) throw new Error(what) }
const equal = (a, b, what) => { if (a !== b) throw new Error(`${what}: ${JSON.stringify(a)} is not ${JSON.stringify(b)}`) }

// values that our map functions can show: everything but types and bytes
const plainMap = doc => {
  const out = {}
  for (const [k, v] of doc.getMap('meta').entries()) if (!(v instanceof Y.AbstractType) && !(v instanceof Uint8Array)) out[k] = JSON.stringify(v)
  return JSON.stringify(Object.entries(out).sort())
}
const newYjs = client => { const doc = new Y.Doc(); doc.clientID = client; doc.getText('content'); doc.getMap('meta'); doc.getArray('list'); return doc }
const isWaiting = doc => !!(doc.store.pendingStructs || doc.store.pendingDs)

// ---- the two kinds of clients; edit() returns the updates that it made
class YjsClient {
  constructor (client, rich) { this.doc = newYjs(client); this.rich = rich; this.made = []; this.doc.on('update', (u, origin) => { if (origin !== 'remote') this.made.push(u) }) }
  take () { return this.made.splice(0) }
  async text () { return this.doc.getText('content').toString() }
  async map () { return plainMap(this.doc) }
  async vector () { return Y.encodeStateVector(this.doc) }
  async encode (sv) { return sv.length ? Y.encodeStateAsUpdate(this.doc, sv) : Y.encodeStateAsUpdate(this.doc) }
  async waiting () { return isWaiting(this.doc) }
  async apply (u) { Y.applyUpdate(this.doc, u, 'remote'); return this.take() } // it may clean up format marks
  async edit () {
    const t = this.doc.getText('content'); const m = this.doc.getMap('meta'); const l = this.doc.getArray('list')
    this.doc.transact(() => {
        for (let n = 1 + random(3); n > 0; n--) {
          // Without embeds and marks positions are those of the string.
          const text = t.toString(); const safe = t.length === text.length; const at = safe ? border(text, random(text.length + 1)) : random(2) ? 0 : t.length
          switch (random(this.rich ? 14 : 7)) {
            case 0: case 1: case 2: case 3: t.insert(at, pick(words)); break
            case 4: case 5: if (safe && at < text.length) { const end = border(text, Math.min(text.length, at + 1 + random(5))); if (end > at) t.delete(at, end - at) } break
            case 6: m.set('k' + random(4), pick([1, -5, 'text', true, null, 1.5, [1, { a: 'b' }], 2 ** 40])); break
            case 7: m.delete('k' + random(4)); break
            case 8: if (safe && at < text.length) { const end = border(text, Math.min(text.length, at + 1 + random(6))); if (end > at) t.format(at, end - at, pick([{ bold: true }, { bold: null }, { em: { a: 1 } }])) } break
            case 9: if (safe) t.insertEmbed(at, pick([{ image: 'x' }, { a: [1] }])); break
            case 10: l.insert(random(l.length + 1), [pick([1, 'two', { three: 3 }, new Uint8Array([1, 2])]), random(9)]); break
            case 11: if (l.length > 0) l.delete(random(l.length), 1); break
            case 12: { const c = new Y.Map(); m.set('k' + random(4), c); const x = new Y.Text(); c.set('t', x); x.insert(0, 'nested'); x.insert(2, '--'); break }
            case 13: { const c = m.get('k' + random(4)); if (c instanceof Y.Map) { const x = c.get('t'); if (x) x.insert(random(x.length + 1), 'N') } break }
          }
        }
      })
    return this.take()
  }
}
class OurClient {
  constructor (id, client) { this.id = id; this.client = client; this.shadow = newYjs(4242424200 + id); this.shadowMade = 0; this.shadow.on('update', (u, origin) => { if (origin !== 'remote') this.shadowMade++ }); this.held = false }
  async start () { await ask('new', this.id, this.client); return this }
  async text () { return Buffer.from(unhex(await ask('text', this.id))).toString('utf8') }
  async map () {
    const out = {}
    for (const entry of (await ask('map', this.id)).split(' ').filter(x => x)) { const [k, v] = entry.split('='); if (v !== '-') out[Buffer.from(unhex(k)).toString()] = JSON.stringify(decoding.readAny(decoding.createDecoder(unhex(v)))) }
    return JSON.stringify(Object.entries(out).sort())
  }
  async vector () { return unhex(await ask('vector', this.id)) }
  async encode (sv) { return unhex(await ask('encode', this.id, hex(sv))) }
  async waiting () { return this.held }
  async apply (u) {
    const [news, waits] = (await ask('apply', this.id, hex(u))).split(' ')
    this.held = waits === '1'
    Y.applyUpdate(this.shadow, u, 'remote')
    await this.compare()
    if (news !== '-') { const y = new Y.Doc(); Y.applyUpdate(y, unhex(news)) } // it is at least well-formed
    return []
  }
  // Yjs can hold back what it could take, and drops format marks by itself: then it is no measure.
  async compare () {
    if (this.held || isWaiting(this.shadow) || this.shadowMade > 0) return
    equal(await this.text(), this.shadow.getText('content').toString(), 'text against the shadow')
    equal(hex(await this.vector()), hex(Y.encodeStateVector(this.shadow)), 'state vector against the shadow')
    equal(await this.map(), plainMap(this.shadow), 'map against the shadow')
    steps++
  }
  async edit () {
    await ask('begin', this.id)
    for (let n = 1 + random(3); n > 0; n--) {
      const text = await this.text(); const bytes = at => Buffer.byteLength(text.slice(0, at))
      switch (random(8)) {
        case 0: case 1: case 2: case 3: await ask('insert', this.id, bytes(border(text, random(text.length + 1))), hex(Buffer.from(pick(words)))); break
        case 4: case 5: if (text.length > 0) { const at = border(text, random(text.length)); const end = border(text, Math.min(text.length, at + 1 + random(5))); if (end > at) await ask('delete', this.id, bytes(at), bytes(end) - bytes(at)) } break
        case 6: { const e = encoding.createEncoder(); encoding.writeAny(e, pick([1, -5, 'text', true, null, 1.5, [1, { a: 'b' }], 2 ** 40])); await ask('set', this.id, hex(Buffer.from('k' + random(4))), hex(encoding.toUint8Array(e))); break }
        case 7: await ask('unset', this.id, hex(Buffer.from('k' + random(4)))); break
      }
    }
    const u = unhex(await ask('commit', this.id))
    if (u.length === 0) return []
    Y.applyUpdate(this.shadow, u, 'remote')
    await this.compare()
    return [u]
  }
}

let steps = 0
let rich = false
const histories = parseInt(count)
let equalStates = 0; let statesSeen = 0

const runHistory = async () => {
  state = seed
  rich = random(2) === 0
  const n = 2 + random(7)
  const clients = []
  for (let i = 0; i < n; i++) clients.push(i === 0 || (i > 1 && random(2)) ? await new OurClient(i, 1 + random(0xFFFFFFFF)).start() : new YjsClient(1 + random(0xFFFFFFFF), rich))
  const queues = clients.map(() => [])
  const send = (from, updates) => { for (const u of updates) queues.forEach((q, i) => { if (clients[i] !== from && random(25) > 0) q.push(u) }) }
  const deliver = async i => {
    const q = queues[i]; const k = random(q.length)
    const u = q[k]
    if (random(6) > 0) q.splice(k, 1) // else it comes again
    send(clients[i], await clients[i].apply(u))
  }
  for (let s = 30 + random(70); s > 0; s--) {
    const i = random(n); const q = queues[i]
    const what = random(10)
    if (what < 4) send(clients[i], await clients[i].edit())
    else if (what === 4 && q.length > 2) { // merged by theirs or by ours
      const some = q.splice(random(q.length - 1), 2)
      q.push(random(2) ? Y.mergeUpdates(some) : unhex(await ask('merge', 0, ...some.map(hex))))
    } else if (what === 5) { // repair: by state vector from somebody
      const from = pick(clients)
      if (from !== clients[i]) send(clients[i], await clients[i].apply(await from.encode(await clients[i].vector())))
    } else if (q.length > 0) await deliver(i)
  }
  // All that is left, then state vectors until nothing changes (cleaning up may make news).
  for (let i = 0; i < n; i++) while (queues[i].length > 0) await deliver(i)
  for (let round = 0; round < 4; round++) {
    for (const a of clients) for (const b of clients) if (a !== b) send(b, await b.apply(await a.encode(await b.vector())))
    for (let i = 0; i < n; i++) while (queues[i].length > 0) await deliver(i)
  }
  const text = await clients[0].text(); const map = await clients[0].map(); const vector = hex(await clients[0].vector())
  const yjs = new Y.Doc(); yjs.getText('content'); yjs.getMap('meta')
  Y.applyUpdate(yjs, await clients[0].encode(new Uint8Array(0)))
  equal(yjs.getText('content').toString(), text, 'a Yjs that loads our state')
  equal(plainMap(yjs), map, 'map of a Yjs that loads our state')
  assert(!isWaiting(yjs), 'our state is not complete')
  const states = []
  for (const c of clients) {
    equal(await c.text(), text, 'text at the end')
    equal(await c.map(), map, 'map at the end')
    equal(hex(await c.vector()), vector, 'state vector at the end')
    assert(!(await c.waiting()), 'something still waits')
    const whole = await c.encode(new Uint8Array(0))
    states.push(hex(whole))
    await ask('new', 60, 1)
    await ask('apply', 60, hex(whole))
    equal(Buffer.from(unhex(await ask('text', 60))).toString('utf8'), text, 'ours that loads a state')
    equal(await ask('vector', 60), vector, 'state vector of ours that loads a state')
    await ask('free', 60)
  }
  for (let i = 1; i < n; i++) { statesSeen++; if (states[i] === states[0]) equalStates++ }
  // Cursors: ours and theirs name the same unit and find the same place.
  if (!rich && text.length > 0) {
    const t = yjs.getText('content')
    for (let k = 0; k < 4; k++) {
      const at = border(text, random(text.length + 1)); const assoc = random(2) ? 0 : -1
      const theirs = Y.encodeRelativePosition(Y.createRelativePositionFromTypeIndex(t, at, assoc))
      equal(await ask('relpos', 0, at, assoc), hex(theirs), 'relative position')
      equal(await ask('abspos', 0, hex(theirs)), String(at), 'absolute position')
    }
  }
  for (const c of clients) if (c instanceof OurClient) await ask('free', c.id)
}

try {
  for (seed = parseInt(first); seed < parseInt(first) + histories; seed++) await runHistory()
} catch (e) {
  console.error(`seed ${seed}: ${e.stack}`)
  process.exit(1)
}
console.log(`${histories} histories from seed ${first}: ${steps} steps compared with a shadow, ${equalStates} of ${statesSeen} states byte for byte equal`)
child.stdin.end()
