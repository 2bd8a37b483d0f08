"""Parses languages from options and manifests: a code, a name, a region, or `auto`."""

from __future__ import annotations

import re
import unicodedata

AUTO = "auto"
"""Stands for language detection."""

EXPECTED = "a language as code or name such as en, en-US or English, or auto to detect it"

_TABLE = """
af afr afrikaans|am amh amharic|ar ara arabic|as asm assamese|az aze azerbaijani|ba bak bashkir
be bel belarusian|bg bul bulgarian|bn ben bengali|bo bod tib tibetan|br bre breton|bs bos bosnian
ca cat catalan valencian|cs ces cze czech|cy cym wel welsh|da dan danish|de deu ger german|el ell gre greek
en eng english|es spa spanish castilian|et est estonian|eu eus baq basque|fa fas per persian farsi
fi fin finnish|fo fao faroese|fr fra fre french|gl glg galician|gu guj gujarati|ha hau hausa|haw hawaiian
he heb hebrew iw|hi hin hindi|hr hrv croatian|ht hat haitian haitian_creole|hu hun hungarian
hy hye arm armenian|id ind indonesian in|is isl ice icelandic|it ita italian|ja jpn japanese
jw jv jav javanese|ka kat geo georgian|kk kaz kazakh|km khm khmer|kn kan kannada|ko kor korean
la lat latin|lb ltz luxembourgish letzeburgesch|ln lin lingala|lo lao|lt lit lithuanian|lv lav latvian
mg mlg malagasy|mi mri mao maori|mk mkd mac macedonian|ml mal malayalam|mn mon mongolian|mr mar marathi
ms msa may malay|mt mlt maltese|my mya bur burmese myanmar|ne nep nepali|nl nld dut dutch flemish
nn nno nynorsk norwegian_nynorsk|no nor norwegian nb nob bokmal norwegian_bokmal|oc oci occitan
pa pan punjabi panjabi|pl pol polish|ps pus pashto pushto|pt por portuguese
ro ron rum romanian moldavian moldovan|ru rus russian|sa san sanskrit|sd snd sindhi
si sin sinhala sinhalese|sk slk slo slovak|sl slv slovenian|sn sna shona|so som somali
sq sqi alb albanian|sr srp serbian|su sun sundanese|sv swe swedish|sw swa swahili|ta tam tamil
te tel telugu|tg tgk tajik|th tha thai|tk tuk turkmen|tl tgl tagalog filipino fil|tr tur turkish
tt tat tatar|uk ukr ukrainian|ur urd urdu|uz uzb uzbek|vi vie vietnamese|yi yid yiddish|yo yor yoruba
yue cantonese|zh zho chi chinese mandarin cmn
"""
_OWN_NAMES = """
bg български|ca català|cs čeština český|cy cymraeg|da dansk|de deutsch|el ελληνικά|es español castellano
et eesti|eu euskara|fa فارسی|fi suomi|fr français|gl galego|he עברית|hi हिन्दी|hr hrvatski|hu magyar
id bahasa_indonesia|is íslenska|it italiano|ja 日本語|ko 한국어|lt lietuvių|lv latviešu|ms bahasa_melayu
nl nederlands|no norsk|pl polski|pt português|ro română|ru русский|sk slovenčina slovenský|sl slovenščina
sr српски srpski|sv svenska|th ไทย|tr türkçe|uk українська|vi tiếng_việt|zh 中文 普通话|ar العربية
"""
"""Languages by their native names, also accepted without accents."""


def _bare(name: str) -> str:
    """A name without its accents."""
    return "".join(sign for sign in unicodedata.normalize("NFD", name) if not unicodedata.combining(sign))


_CODES = {
    form: entry.split()[0]
    for entry in re.split(r"[|\n]", _OWN_NAMES + _TABLE)
    for name in entry.split()
    for form in (name, _bare(name))
}
_CODE = re.compile(r"[a-z]{2,3}(_[a-z]{4})?(_([a-z]{2}|[0-9]{3}))?")


def language_code(text: str) -> str | None:
    """The code that models use for the language; `auto` for detection; None if `text` is not a language.

    `EN`, `eng`, `English`, `en_US` and `en-GB` give `en`, `Deutsch` gives `de`. Codes outside Whisper's list
    are returned unchanged; the model decides whether it knows them.
    """
    plain = unicodedata.normalize("NFC", text.strip().lower()).replace("-", "_")
    if plain in (AUTO, "detect"):
        return AUTO
    found = _CODES.get(plain.replace(" ", "_"))
    if found or not _CODE.fullmatch(plain):
        return found
    first = plain.partition("_")[0]
    return _CODES.get(first, first)
