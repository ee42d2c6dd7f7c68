// npm @automerge/automerge.  One change an edit, spliced in; bytes for the
// peers from getLastLocalChange.  All replicas start from one saved document
// that holds the empty text: two that each make their own would not merge.
import * as A from '@automerge/automerge'

const actor = client => client.toString(16).padStart(8, '0')
const empty = A.save(A.from({ text: '' }, { actor: actor(0) }))

class Replica {
  constructor (doc, sink) {
    this.doc = doc
    this.sink = sink
  }

  edit (patches) {
    if (patches.length === 0) return
    this.doc = A.change(this.doc, draft => {
      for (const [at, deleted, inserted] of patches) {
        A.splice(draft, ['text'], at, deleted, inserted)
      }
    })
    if (this.sink) this.sink(A.getLastLocalChange(this.doc))
  }

  apply (updates) { [this.doc] = A.applyChanges(this.doc, updates) }
  text () { return this.doc.text }
  save () { return A.save(this.doc) }
  close () { A.free(this.doc) }
}

export const open = (client, sink) =>
  new Replica(A.load(empty, { actor: actor(client) }), sink)
export const load = bytes => new Replica(A.load(bytes))
