// One library on one trace: one job.
//
//   node --expose-gc player.mjs PEER TRACE.json.gz JOB STORE LIMIT RUNS
//
// PEER is one of the files beside this one.  They share one shape:
//
//   open(client, sink)  an empty replica; sink is called with the bytes for the
//                       peers after each edit, if given
//   load(bytes)         a replica from what save() returned
//   replica.edit(patches)   one transaction of [position, deleted, inserted]
//   replica.apply(updates)  a list of what sinks were given, in causal order
//   replica.text(), .save(), .close()
//
// JOB updates makes the updates of a concurrent trace and leaves them in the
// folder STORE; state replays or merges, leaves the saved state there, and says
// held_kib and state_bytes; local, live, load and merge are the cases.  Prints
// "CASE METRIC VALUE" a line, and "CASE skipped -" for what would take more
// than LIMIT seconds (0: none); updates may take LIMIT an agent, state 3 LIMIT.
//
// "ms" is what it takes in a process that has just begun, as when a person
// opens a text; "warm_ms" the median of up to RUNS more runs, when the just in
// time compiler has done its work.  A run takes its wall time, or the processor
// time of the process if that is less: then the machine had something else to
// do.  "cpu_ms" is the processor time of the first one: V8 compiles and collects
// garbage on other processors meanwhile, if they are free.  The garbage is not
// collected between runs: V8 then makes its nursery small, and yjs merges in
// three times the time.
import { readFileSync, writeFileSync } from 'node:fs'
import { basename } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { deserialize, serialize } from 'node:v8'
import { gunzipSync } from 'node:zlib'

const [peer, file, job, store, seconds, runs] = process.argv.slice(2)
const limit = Number(seconds) === 0 ? Infinity : Number(seconds) * 1000
const name = basename(file, '.json.gz')
const trace = JSON.parse(gunzipSync(readFileSync(file)))
const txns = trace.txns
const reader = 0xfffffffe

// WebAssembly memory counts as held, too, and is not in the heap of V8: note
// the memory of every instance the library makes.
const memories = new Set()
const note = instance => {
  for (const value of Object.values(instance.exports)) {
    if (value instanceof WebAssembly.Memory) memories.add(value)
  }
  return instance
}
WebAssembly.Instance = new Proxy(WebAssembly.Instance, {
  construct: (Instance, args) => note(new Instance(...args))
})
const instantiate = WebAssembly.instantiate
WebAssembly.instantiate = async (...args) => {
  const made = await instantiate(...args)
  note(made.instance ?? made)
  return made
}
const wasmBytes = () =>
  [...memories].reduce((n, memory) => n + memory.buffer.byteLength, 0)

const { open, load } = await import(`./${peer}.mjs`)

const report = (mode, metric, value) =>
  console.log(`${name}${mode && '/'}${mode} ${metric} ${value}`)

class TooSlow extends Error {}

// A stop watch that gives up when a loop is over its time, or will be.
class Watch {
  constructor (ms = limit) {
    this.limit = ms
    this.cpu = process.cpuUsage()
    this.start = performance.now()
  }

  at (done, total) {
    if ((done & 63) !== 0) return
    const spent = this.ms()
    if (spent > this.limit ||
        (spent > 2000 && spent / done * total > 1.5 * this.limit)) {
      throw new TooSlow()
    }
  }

  ms () {
    return Math.min(performance.now() - this.start, this.processor())
  }

  processor () {
    const { user, system } = process.cpuUsage(this.cpu)
    return (user + system) / 1000
  }
}

const check = replica => {
  if (replica.text() !== trace.endContent) {
    throw new Error(`${peer}: wrong text at the end of ${name}`)
  }
}

const median = values => {
  const sorted = [...values].sort((a, b) => a - b)
  const n = sorted.length
  return (sorted[(n - 1) >> 1] + sorted[n >> 1]) / 2
}

// Run something that returns a replica with the text of the end.
const measure = run => {
  const times = []
  let spent = 0
  do {
    const watch = new Watch()
    const replica = run(watch)
    times.push(watch.ms())
    if (spent === 0) report(job, 'cpu_ms', watch.processor().toPrecision(5))
    spent += times.at(-1)
    check(replica)
    replica.close()
  } while (times.length <= runs && spent + times.at(-1) < limit)
  report(job, 'ms', times.shift().toPrecision(5))
  if (times.length > 0) report(job, 'warm_ms', median(times).toPrecision(5))
}

// KiB held by the replica that make() returns: what V8 can collect when it is
// gone, and by how much the memory of WebAssembly grew (which never shrinks,
// so that includes what was needed for a moment).
const held = async make => {
  const before = wasmBytes()
  let replica = make()
  const grown = wasmBytes() - before
  const full = await heap()
  const state = replica.save()
  check(replica)
  replica.close()
  replica = null
  const empty = await heap() - state.length
  report('', 'held_kib', ((full - empty + grown) / 1024).toFixed(1))
  report('', 'state_bytes', state.length)
  writeFileSync(stored('state'), state)
}

// V8 frees the memory of arrays on another thread, after the collection.
const heap = async () => {
  for (let i = 0; i < 5; i++) {
    global.gc()
    await setTimeout(20)
  }
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

const stored = what => `${store}/${peer}.${name}.${what}`

// ---- sequential

const replay = (sink, watch) => {
  const replica = open(1, sink)
  for (let i = 0; i < txns.length; i++) {
    replica.edit(txns[i].patches)
    watch.at(i, txns.length)
  }
  return replica
}

// ---- concurrent

// The update of every transaction, each made by a replica that has exactly
// what its transaction depends on: that of its agent, or a new one with an id
// of its own if that knows more.  Sets of transactions are bit sets.
const makeUpdates = () => {
  const wide = (txns.length >> 5) + 1
  const updates = new Array(txns.length).fill(null)
  const past = new Uint32Array(txns.length * wide)
  const agents = []
  const watch = new Watch(limit * trace.numAgents)
  let clients = 0

  txns.forEach(({ parents, agent, patches }, i) => {
    const mine = past.subarray(i * wide, (i + 1) * wide)
    for (const p of parents) {
      for (let w = 0; w < wide; w++) mine[w] |= past[p * wide + w]
      mine[p >> 5] |= 1 << (p & 31)
    }
    let a = agents[agent]
    if (a === undefined || a.has.some((bits, w) => (bits & ~mine[w]) !== 0)) {
      a?.replica.close()
      a = agents[agent] = { has: new Uint32Array(wide), made: null }
      a.replica = open(++clients, bytes => { a.made = bytes })
    }
    const missing = []
    for (let w = 0; w < wide; w++) {
      for (let bits = mine[w] & ~a.has[w]; bits !== 0; bits &= bits - 1) {
        const update = updates[w * 32 + 31 - Math.clz32(bits & -bits)]
        if (update !== null) missing.push(update)
      }
      a.has[w] |= mine[w]
    }
    if (missing.length > 0) a.replica.apply(missing)
    a.made = null
    a.replica.edit(patches)
    updates[i] = a.made
    a.has[i >> 5] |= 1 << (i & 31)
    watch.at(i, txns.length)
  })
  for (const a of agents) a?.replica.close()
  return updates.filter(update => update !== null)
}

const merge = (updates, watch) => {
  const replica = open(reader)
  for (let i = 0; i < updates.length; i++) {
    replica.apply([updates[i]])
    watch.at(i, updates.length)
  }
  return replica
}

// ---- jobs

const updates = () => deserialize(readFileSync(stored('updates')))
const jobs = {
  updates: () => writeFileSync(stored('updates'), serialize(makeUpdates())),
  state: async () => {
    if (trace.kind === 'concurrent') {
      const all = updates()
      await held(() => merge(all, new Watch(3 * limit)))
    } else {
      await held(() => replay(undefined, new Watch(3 * limit)))
    }
  },
  local: () => measure(watch => replay(undefined, watch)),
  live: () => {
    let sent = 0
    measure(watch => replay(bytes => { sent += bytes.length }, watch))
    if (sent === 0) throw new Error(`${peer}: nothing was sent`)
  },
  load: () => {
    const state = new Uint8Array(readFileSync(stored('state')))
    measure(() => {
      const replica = load(state)
      replica.text()
      return replica
    })
  },
  merge: () => {
    const all = updates()
    measure(watch => merge(all, watch))
  }
}

// A word, so that the library is there before anything is looked at.
const first = open(1)
first.edit([[0, 0, 'word']])
first.close()

try {
  await jobs[job]()
} catch (error) {
  if (!(error instanceof TooSlow)) throw error
  report(job, 'skipped', '-')
}
