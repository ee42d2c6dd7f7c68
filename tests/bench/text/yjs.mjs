// npm yjs.  One transaction an edit, as the README asks; bytes for the peers
// from the 'update' event.  The name of the text is in the state: the one of
// ours, so that sizes compare.
import * as Y from 'yjs'

class Replica {
  constructor (client, sink) {
    this.doc = new Y.Doc()
    this.doc.clientID = client
    this.body = this.doc.getText('content')
    if (sink) this.doc.on('update', sink)
  }

  edit (patches) {
    this.doc.transact(() => {
      for (const [at, deleted, inserted] of patches) {
        if (deleted > 0) this.body.delete(at, deleted)
        if (inserted !== '') this.body.insert(at, inserted)
      }
    })
  }

  apply (updates) {
    for (const update of updates) Y.applyUpdate(this.doc, update)
  }

  text () { return this.body.toString() }
  save () { return Y.encodeStateAsUpdate(this.doc) }
  close () { this.doc.destroy() }
}

export const open = (client, sink) => new Replica(client, sink)
export const load = bytes => {
  const replica = new Replica(0xffffffff)
  replica.apply([bytes])
  return replica
}
