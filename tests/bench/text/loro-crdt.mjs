// npm loro-crdt.  One commit an edit; bytes for the peers from
// subscribeLocalUpdates; the saved state is a snapshot, which its
// documentation calls the fastest to load.  Where many updates are at hand,
// importBatch.
import { LoroDoc } from 'loro-crdt'

class Replica {
  constructor (doc, sink) {
    this.doc = doc
    this.body = doc.getText('text')
    if (sink) doc.subscribeLocalUpdates(sink)
  }

  edit (patches) {
    for (const [at, deleted, inserted] of patches) {
      if (deleted > 0) this.body.delete(at, deleted)
      if (inserted !== '') this.body.insert(at, inserted)
    }
    this.doc.commit()
  }

  apply (updates) {
    if (updates.length === 1) this.doc.import(updates[0])
    else this.doc.importBatch(updates)
  }

  text () { return this.body.toString() }
  save () { return this.doc.export({ mode: 'snapshot' }) }
  close () {
    this.body.free()
    this.doc.free()
  }
}

export const open = (client, sink) => {
  const doc = new LoroDoc()
  doc.setPeerId(client)
  return new Replica(doc, sink)
}
export const load = bytes => new Replica(LoroDoc.fromSnapshot(bytes))
