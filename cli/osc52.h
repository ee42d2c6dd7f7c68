/* cli/osc52.h - the terminal sequence that puts a key on the clipboard.
 *
 * OSC 52 of xterm's control sequences: ESC ] 52 ; c ; BASE64 BEL. Vim has no
 * base64 of its own, so the agent sends the whole sequence. */
#ifndef CV_CLI_OSC52_H
#define CV_CLI_OSC52_H
#include "base/key.h"
#include "cli/json.h"

/* Member `osc52`. */
void cv_osc52_put_key(struct cv_json_out *o, const struct cv_key *session);
#endif
