"""The red team (SECURITY.md, rule 22): attacks as data, a Claude that obeys them, and what may not come of it.

- `attacks.yaml` is what attackers write, by the place where they write it; `attacks.py` reads it. An attack of a place
  that exists needs one more line there, and nothing else.
- `scenes.py` makes an event of each family with given texts in all places that it has, and lets it have happened on the
  sandbox's GitHub.
- `obedient.py` is a Claude that does what it was told, and more: what it read, what it was asked and what attackers
  wish it wrote stand in every text of its replies, its closed sets are at their ends, its lists as long as they may be.
- `siege.py` runs the real thing: the door's decision, store, workers' pipeline, and the clients, over loopback.
- `rules.py` judges what Claude was asked, what GitHub saw and shows, what was logged and what is stored: one function
  for each rule, and each names what it found.

Attacks are worked off in rounds: in each round every place of an event has another one, so a family has as many events
as its fullest place has attacks. The first round of all is calm, in another repository. It shows what the prompt is
without any attack, and its texts must never be seen again.
"""
