"""Tests with attacks on the whole pipeline (SECURITY.md, rule 22).

- `attacks.yaml` lists attack texts by the place that contains them; `attacks.py` reads it. A new
  attack is one line.
- `scenarios.py` makes an event of each family, with given texts in all its places, on the sandbox's
  GitHub.
- `claude.py` replaces Claude. It obeys injected instructions: all texts of a reply
  consist of attacks, secrets and the request, numbers and enums have extreme values, and lists have
  their maximum length.
- `test_redteam.py` lets each event happen in a conversation, with the real routing, queue, pipeline
  and client.
- `rules.py` has a function for each security rule. It checks the requests to Claude and GitHub, the
  comments, the log and the database, and yields the violations.

A run has rounds. Each round has one attack in every place of the event, so the number of rounds is
the number of attacks of the place that has most. The first round is harmless and in another
repository: it shows the prompt without attacks, and its texts must not occur in any later round.
"""
