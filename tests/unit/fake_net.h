/* tests/unit/fake_net.h - transport and DHT in memory, in the place of the
 * real ones.
 *
 * Defines the functions of transport/conn.h and transport/net.h, and those of
 * discovery/dht.h that make a node.  Bytes arrive in order, in pieces of
 * random size, and never while they are being sent. */
#ifndef CV_TESTS_FAKE_NET_H
#define CV_TESTS_FAKE_NET_H
#include "base/loop.h"
#include "discovery/dht.h"
#include "transport/net.h"

/* A connection between two nodes, without any net: `client` knocked. */
void fake_connect(const struct cv_key *client, const struct cv_key *server,
                  struct cv_conn **client_end, struct cv_conn **server_end);
/* The stream of that id at this end. */
struct cv_stream *fake_stream(struct cv_conn *conn, uint64_t id);
/* Deliver all that is on its way, and what follows from it. */
void fake_run(void);
/* The same, by itself, in the loop. */
void fake_use_loop(struct cv_loop *loop);
/* What a node that vanished looks like to the others: the connection times
 * out on their side, and on this one too. */
void fake_cut(struct cv_conn *conn);
/* Cut all connections of a node, and let it reach nobody until `up`. */
void fake_unplug(const struct cv_key *node, bool up);
/* A node that vanished, before its connections time out: nothing arrives there,
 * nothing comes from it, and the others see that no path works. */
void fake_silence(const struct cv_key *node);
/* Two nodes that cannot reach each other, though others reach both. */
void fake_block(const struct cv_key *a, const struct cv_key *b);
/* This node's NAT takes another port for every destination, at random: it is
 * reached only by who trusts it (cv_contact.trusted).  NULL: nobody's. */
void fake_hard_nat(const struct cv_key *node);
/* This node's NAT has forgotten its mapping: nobody who knows the old one comes
 * through; and from `fake_notice` on the node knows where it is. */
void fake_forget(const struct cv_key *node);
void fake_notice(const struct cv_key *node);
/* A knock has come to it that is no connection yet. */
bool fake_is_called(const struct cv_key *node);
/* The keys at which this node listens, and where nothing lies yet, are full:
 * what is put there is refused, as by nodes of OpenDHT; how many were. */
void fake_fill(const struct cv_dht *dht);
unsigned fake_refused(void);
/* And it hears what they are full of: two hundred values of junk. */
void fake_hear_junk(void);
/* No socket can be opened. */
void fake_no_network(bool none);
/* Streams and connections that live; for leaks. */
unsigned fake_living(void);
/* Connections and DHT values of a test before are forgotten. */
void fake_reset(void);
/* Bytes that were ever sent in plain, for looking into them. */
struct cv_bytes fake_log(void);
#endif
