"""Names of methods that types of languages and their standard libraries have, and of what needs no
import.
"""

from __future__ import annotations

import builtins

PYTHON_TYPES = (bytes, bytearray, dict, float, frozenset, int, list, set, str, tuple)

OTHERS = """
Add AddAsync All Any Append Call Clear Clone Close Contains Context Copy Count Delete Dispose Do
Done Equal Equals Err Error Exec Execute Exists Find First Flush Format Get GetAsync GetHashCode Has
Header Index Init Insert Invoke Join Last Len Load Lock Map Marshal New Next Open Parse Peek Pop
Post Push Put Query Range Read ReadAll Release Remove Replace Reset Run Scan Seek Select Send Set
Size Sort Split Start Stop Store String Sub Sum Swap ToArray ToList ToString Trim Unlock Unwrap
Update Value Wait Where Write accept acquire add addAll addEventListener all any apply assign assert
at await bind build call cancel catch charAt check clone close collect compareTo concat connect
contains containsKey create debug delete done emit end entries entrySet equals error every exec
execute exists fetch fill filter finally find findFirst findIndex first flat flatMap flush forEach
format from get getAll getBytes getClass getName getValue has hasNext hashCode head includes info
init invoke is isEmpty isPresent iter iterator join json keySet keys last length listen load lock
log map match matches merge name new next notify of on once open options orElse parse patch pause
peek poll pop post print println publish push put query read recv reduce register release remove
removeAll render replace replaceAll request reset resolve resume run save schedule search select
send set shift size skip slice some sort splice split start startsWith status stop stream stringify
submit subscribe substring subtract sum take test text then toArray toFixed toList toLowerCase
toString toUpperCase trim unlock unshift unwrap update value valueOf values wait warn write writeln
"""

BUILTIN_METHODS = frozenset(
    [name for kind in PYTHON_TYPES for name in dir(kind) if not name.startswith("_")]
    + OTHERS.split()
)
"""`get` may be that of any object."""

GLOBALS = """
Array BigInt Boolean Date Error EvalError Event FormData Function Headers Intl JSON Map Math Node
Number Object Promise Proxy RangeError Reflect RegExp Request Response Set String Symbol SyntaxError
TypeError URL WeakMap WeakSet WebSocket Worker alert clearTimeout confirm fetch parseFloat parseInt
prompt require setInterval setTimeout structuredClone append cap copy len make new panic recover
"""

BUILTIN_NAMES = frozenset([*dir(builtins), *GLOBALS.split()])
"""A name that stands alone and is not imported is that of the language: `new Error()`."""
