// npm ywasm, the Yrs of Rust in WebAssembly.  One explicit transaction an edit
// (without, every call makes its own); bytes for the peers from onUpdate.
import Y from 'ywasm'

class Replica {
  constructor (client, sink) {
    this.doc = new Y.YDoc({ clientID: client })
    this.body = this.doc.getText('content')
    if (sink) this.observer = this.doc.onUpdate(sink)
  }

  edit (patches) {
    const txn = this.doc.beginTransaction()
    for (const [at, deleted, inserted] of patches) {
      if (deleted > 0) this.body.delete(at, deleted, txn)
      if (inserted !== '') this.body.insert(at, inserted, undefined, txn)
    }
    txn.commit()
    txn.free()
  }

  apply (updates) {
    for (const update of updates) Y.applyUpdate(this.doc, update)
  }

  text () { return this.body.toString() }
  save () { return Y.encodeStateAsUpdate(this.doc) }
  close () {
    this.observer?.free()
    this.body.free()
    this.doc.free()
  }
}

export const open = (client, sink) => new Replica(client, sink)
export const load = bytes => {
  const replica = new Replica(0xffffffff)
  replica.apply([bytes])
  return replica
}
