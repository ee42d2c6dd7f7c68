// npm diamond-types-node.  Doc keeps the text up to date, as an editor needs
// it; bytes for the peers are the patch since the version before the edit.
import dt from 'diamond-types-node'

class Replica {
  constructor (doc, sink) {
    this.doc = doc
    this.sink = sink
  }

  edit (patches) {
    const before = this.sink && this.doc.getLocalVersion()
    for (const [at, deleted, inserted] of patches) {
      if (deleted > 0) this.doc.del(at, deleted)
      if (inserted !== '') this.doc.ins(at, inserted)
    }
    if (this.sink && patches.length > 0) {
      this.sink(this.doc.getPatchSince(before))
    }
  }

  apply (updates) {
    for (const update of updates) this.doc.mergeBytes(update)
  }

  text () { return this.doc.get() }
  save () { return this.doc.toBytes() }
  close () { this.doc.free() }
}

export const open = (client, sink) =>
  new Replica(new dt.Doc(`c${client}`), sink)
export const load = bytes => new Replica(dt.Doc.fromBytes(bytes, 'reader'))
