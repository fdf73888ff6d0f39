"""The shapes of personal data: what `infra.privacy` looks for. Whether a shape is meant is decided there.

Every repetition is bounded, or possessive over characters that cannot start the next match, so that no
input makes a search more than linear.
"""

import re

KINDS = ("SECRET", "EMAIL", "IP", "IBAN", "CARD", "ID", "PHONE")

_PLACEHOLDER = rf"\[(?:{'|'.join(KINDS)})\]"

# Prefixes that issuers publish so that scanners can find leaked keys.
KEY = re.compile(
    r"""-----BEGIN\ [A-Z0-9 ]{0,24}PRIVATE\ KEY(?:\ BLOCK)?-----
        (?:(?!-----)[\s\S])*+(?:-----END\ [A-Z0-9 ]{0,40}-----)?   # cut off before its end, it is still a key
      | (?<=://)[^\s/@:\[\]]{1,256}+:[^\s/@]{1,256}+(?=@)          # user:password@ in an address
      | (?<![\w-])eyJ[\w-]{8,}+\.[\w-]{2,}+(?:\.[\w-]*+)?          # JSON Web Token
      | (?<![\w.-])SG\.[\w-]{16,}+\.[\w-]{16,}+                    # SendGrid
      | (?<![A-Za-z0-9])(?:
            (?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{16}(?![A-Za-z0-9])     # Amazon
          | AIza[\w-]{35} | GOCSPX-[\w-]{20,}+ | ya29\.[\w-]{20,}+ # Google
          | gh[pousr]_[A-Za-z0-9]{30,}+ | github_pat_\w{20,}+ | glpat-[\w-]{20,}+
          | xox[a-z]-[\w-]{10,}+ | xapp-[\w-]{10,}+                # Slack
          | [rsp]k_(?:live|test)_\w{16,}+ | whsec_[\w+/=]{16,}+    # Stripe
          | sk-(?=[a-z_-]{0,24}[A-Z0-9])[\w-]{16,}+                # OpenAI, Anthropic and their kind
          | (?:hf|npm)_[A-Za-z0-9]{30,}+ | pypi-[\w-]{32,}+ | dop_v1_[0-9a-f]{40,}+
          | (?:AC|SK)[0-9a-f]{32}(?![A-Za-z0-9])                   # Twilio
        )""",
    re.VERBOSE,
)

_WORD = r"(?<![^\W\d_])"  # begins a word, or follows a digit or a line as in "db_password"
# A secret that its writer names. The named group says how sure that is; `infra.privacy` decides.
NAMED_SECRET = re.compile(
    rf"""{_WORD}(?:pass(?:word|code|phrase|wd)|pwd|api[ _-]?key|(?:secret|access|private)[ _-]?key
             |client[ _-]?secret|(?:access|auth|api|refresh)[ _-]?token)
          ["']?\s{{0,3}}+(?P<link>(?:is|was)\b|[:=])[:=>]{{0,2}}+\s{{0,3}}+["'`]?
          (?!{_PLACEHOLDER})(?P<value>[^\s"'`]{{3,}}+)
      | {_WORD}authorization\s?:\s?(?:basic|bearer|token)\s(?!{_PLACEHOLDER})(?P<header>[^\s"'`]{{3,}}+)
      | {_WORD}bearer\s{{1,3}}+(?P<bearer>[\w.~+/=-]{{3,}}+)
      | {_WORD}(?:pin|cvv2?|cvc2?)(?:\s(?:number|code))?(?:\sis|\s?[:=])\s?(?P<pin>\d{{3,4}})(?!\d)
    """,
    re.VERBOSE | re.IGNORECASE,
)

# No length limit on the part before the @: a longer one is no valid address, but it is still somebody's.
# Several that run into each other are one.
EMAIL = re.compile(r"(?<![\w.%+-])(?:[\w.%+-]++@(?:[\w-]++\.)+(?:xn--[\w-]++|[^\W\d_]{2,}+))+")

IPV4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?!\w|\.\d)", re.ASCII)
# Starts at a word, or after the colon of "address:"; a start inside a run would make the search quadratic.
IPV6 = re.compile(r"(?:(?<![\w.:])|(?<=[G-Zg-z_]:))[0-9A-Fa-f:.]{3,}+(?!\w)", re.ASCII)

IBAN_START = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}", re.ASCII)
IBAN_GAPS = " -\u00a0"
# SWIFT's IBAN registry: countries by the length of their IBANs.
_COUNTRIES_BY_LENGTH = {
    15: "NO",
    16: "BE",
    18: "DK FI FK FO GL NL SD",
    19: "MK SI",
    20: "AT BA EE KZ LT LU MN XK",
    21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA",
    23: "AE GI IL IQ OM SO TL",
    24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "LY PT ST",
    26: "IS TR",
    27: "BI DJ FR GR IT MC MR SM",
    28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
    29: "BR EG PS QA UA",
    30: "JO KW MU YE",
    31: "MT SC",
    32: "LC",
    33: "RU",
}
IBAN_LENGTH = {country: n for n, countries in _COUNTRIES_BY_LENGTH.items() for country in countries.split()}

# Groups of digits, with a space or a dash between; not the tail of a decimal number.
DIGIT_GROUPS = re.compile(r"(?<!\d)(?<!\d\.)\d++(?:[ \u00a0\u2010\u2011\u2013-]\d++)*+")
DIGITS = re.compile(r"\d+")
# Prefix and length of each network's numbers (ISO/IEC 7812, the networks' documents).
CARD = re.compile(
    r"""4\d{12}(?:\d{3}){0,2}  # Visa
      | (?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}  # Mastercard
      | 3[47]\d{13}  # American Express
      | (?:6011|64[4-9]\d|65\d\d|62\d\d|81\d\d)\d{12,15}  # Discover, UnionPay, RuPay
      | 35\d{14,17} | (?:2131|1800)\d{11}  # JCB, new and old
      | (?:30[0-5]\d|3095|36\d\d|38\d\d|39\d\d)(?:\d{10}|\d{12}|\d{15})  # Diners Club
      | 220[0-4]\d{12,15} | 9792\d{12}  # Mir, Troy
      | (?:50|5[6-8]|63|67)\d{10,17}  # Maestro
    """,
    re.VERBOSE | re.ASCII,
)
CARD_SHORTEST, CARD_LONGEST = 12, 19

_SSN = r"(?!000|666)\d{3}(?P<sep>[- ]?)(?!00)\d{2}(?P=sep)(?!0000)\d{4}(?![\w-])"
# With dashes the shape alone is telling; without them only after its name.
SSN = re.compile(
    rf"""(?<![\w-])(?:(?=\d{{3}}-\d{{2}}-)(?P<shape>{_SSN}))
      | {_WORD}(?:ssn|itin|social\ security(?:\ (?:number|no\.?))?)[ :#]{{1,3}}+(?:is\ )?
        (?P<named>{_SSN.replace("sep", "gap")})
    """,
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)

# A number neither begins nor ends inside a longer run. Both sides ask the same, so that one number's
# replacement never uncovers its neighbour, and redacting twice changes nothing.
_BEGIN = r"(?<!\w)(?:(?=[+(])|(?<!\d[.:-]))"
_END = r"(?:[ ]?(?:x|ext\.?|extension)[ ]?\d{1,6})?(?!\w)(?![.:-]\d|[ ]?%)"
# Written as only phone numbers are. `sure` wherever it stands; `likely` unless called something else.
PHONE = re.compile(
    rf"""{_BEGIN}(?:
        (?P<sure>(?:
            (?:\(?\+\(?[1-9]|00[1-9])(?:[ \u00a0()./-]{{0,3}}\d){{6,14}}                      # international
          | (?:1[ .-])?(?:\([2-9]\d{{2}}\)[ -]?|[2-9]\d{{2}}[ .-])[2-9]\d{{2}}[ .-]\d{{4}}  # North America
        ){_END})
      | (?P<likely>(?:
            \(?0[1-9](?:[ \u00a0()./-]{{0,2}}\d){{7,9}}           # with the trunk prefix 0
          | \(\d{{2,4}}\)[ ]?\d{{3,4}}[ -]?\d{{3,4}}            # area code in brackets
        ){_END}))""",
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
_ALONE = r"(?<!\w)(?<!\d[ .:/-])(?<![$€£¥])(?<![$€£¥][ ])"
# Less telling: digits in three to five groups, or seven to twelve that the words around must call a number.
PERHAPS_PHONE = re.compile(
    rf"""{_ALONE}(?:
        (?P<likely>(?=\d(?:[ -]?\d){{7,10}}(?![ -]?\d))
            \d{{2,4}}(?P<gap>[ -])\d{{2,4}}(?:(?P=gap)\d{{2,4}}){{1,3}}{_END}(?![ /]\d))
      | (?P<perhaps>\d(?:[ \u00a0./-]?\d){{6,11}}{_END}(?![ /]\d))
    )""",
    re.VERBOSE | re.IGNORECASE | re.ASCII,
)
# A date, or a span of years, where a phone number could stand.
DATE = re.compile(
    r"\(?(?:\d{1,2}([ ./-])\d{1,2}\1(?:19|20)\d\d|(?:19|20)\d\d([ ./-])\d{1,2}\2\d{1,2}"
    r"|(?:19|20)\d\d\)?[ /-](?:19|20)\d\d)(?!\d)",
    re.ASCII,
)
# What the words before a number call it; the nearest decides. A placeholder's own name is no such word,
# yet after one phone number ("555 1234 or 555 9876") another is likely.
CALLED = re.compile(
    r"""(?P<phone>\[PHONE\]|(?<![\w\[])(?:
            call(?:s|ed|ing|back)?|(?:tele|cell)?phone|phoned|tel|mobile|cell|fax|desk|landline|hotline
          | sms|texts?|texting|whatsapp|rings?|ringing|dial(?:led|ed|ing)?|reach(?:ed)?|contact|voicemail
          | answer(?:s|ed|ing)?|messages?|registered|(?:office|work|home)(?=\W{0,2}:))\b)
      | (?P<other>(?<![\w\[])(?:
            orders?|ref|reference|booking|reservation|confirmation|invoice|receipt|tracking|parcel|ticket
          | case|claim|policy|account|acct|customer|member(?:ship)?|loyalty|serial|model|sku|isbn|barcode
          | product|item|part|code|id|transaction|transfer|payment|amount|price|room|flight|train|zip
          | zipcode|postcode|postal|licen[cs]e|passport|vat|tax|meter|sort|routing)\b)""",
    re.VERBOSE | re.IGNORECASE,
)
CALLED_AFTER = re.compile(
    r"[ \u00a0,(-]{0,2}(?:is (?:my|our|the)? ?(?:new )?(?:best )?(?:(?:contact|phone) )?(?:number|phone)\b"
    r"|(?:is my )?(?:office|work|home|mobile|cell|fax|desk|landline)\b)",
    re.IGNORECASE,
)
CALLED_WINDOW = 48  # characters before a number in which a word still names it: about eight words
