"""Bytes to text when the label may be wrong, missing or invented. Pure; never raises.

Order (RFC 2045 section 5 gives the label, life gives the rest): the declared label widened to its superset, UTF-8, a guess by how
common the resulting characters are, and at last the label with replacement characters and a doubt.
"""

from __future__ import annotations

import re
from encodings import normalize_encoding
from encodings.aliases import aliases
from functools import lru_cache

from charset_normalizer import from_bytes

#: label -> codecs to try, widest last. GB18030 holds all of GBK and GB2312, and Chinese clients label GBK text "gb2312".
GB = ("gb18030",)
BIG5 = ("cp950", "big5hkscs")
LATIN = ("cp1252", "latin-1")
WIDENED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        (
            "gb2312",
            "gb_2312_80",
            "gb2312_80",
            "gbk",
            "x_gbk",
            "cp936",
            "ms936",
            "windows_936",
            "csgb2312",
            "csiso58gb231280",
            "chinese",
            "euc_cn",
            "euccn",
            "eucgb2312_cn",
            "gb18030",
            "gb_18030",
            "gb18030_2000",
            "cp54936",
            "iso_ir_58",
            "gb",
            "gbk2312",
        ),
        GB,
    ),
    **dict.fromkeys(
        ("big5", "big5_hkscs", "big5hkscs", "big5_tw", "x_x_big5", "cn_big5", "csbig5", "cp950", "ms950", "windows_950", "big_5"), BIG5
    ),
    **dict.fromkeys(("hz", "hz_gb", "hz_gb_2312", "hzgb"), ("hz",)),
    **dict.fromkeys(("utf8", "utf_8", "utf8mb4", "u8", "cp65001", "unicode_1_1_utf_8", "x_unicode_2_0_utf_8", "utf_8_sig"), ("utf-8",)),
    **dict.fromkeys(("utf_7", "utf7", "unicode_1_1_utf_7", "x_unicode_2_0_utf_7"), ("utf-7",)),
    **dict.fromkeys(
        (
            "iso_8859_1",
            "iso8859_1",
            "latin1",
            "latin_1",
            "l1",
            "windows_1252",
            "cp1252",
            "x_ansi",
            "ansi",
            "cp_1252",
            "iso_8859_1_windows_3.1_latin_1",
            "windows1252",
            "iso_88591",
            "iso8859",
        ),
        LATIN,
    ),
    **dict.fromkeys(
        ("iso_2022_jp", "csiso2022jp", "iso_2022_jp_1", "iso_2022_jp_2", "iso_2022_jp_3", "jis"),
        ("iso2022_jp_ext", "iso2022_jp_3", "iso2022_jp_2"),
    ),
    **dict.fromkeys(
        ("shift_jis", "sjis", "x_sjis", "s_jis", "ms_kanji", "csshiftjis", "cp932", "windows_31j", "ms932", "cswindows31j"),
        ("cp932", "shift_jis_2004"),
    ),
    **dict.fromkeys(("euc_jp", "eucjp", "x_euc_jp", "ujis"), ("euc_jp", "euc_jis_2004")),
    **dict.fromkeys(
        ("euc_kr", "euckr", "ks_c_5601_1987", "ks_c_5601", "ksc5601", "korean", "uhc", "cp949", "windows_949", "ms949"), ("cp949",)
    ),
    **dict.fromkeys(("iso_2022_kr", "csiso2022kr"), ("iso2022_kr",)),
    **dict.fromkeys(("iso_8859_8_i", "iso_8859_8_e"), ("iso8859_8",)),
    **dict.fromkeys(("windows_874", "tis_620", "iso_8859_11", "cp874"), ("cp874",)),
    **dict.fromkeys(("macintosh", "x_mac_roman", "mac", "apple_roman"), ("mac_roman",)),
    "iso_8859_9": ("cp1254", "iso8859_9"),
}
#: labels that say nothing: detect
EMPTY = frozenset(
    {
        "",
        "us_ascii",
        "ascii",
        "ansi_x3.4_1968",
        "646",
        "us",
        "unknown_8bit",
        "x_unknown",
        "unknown",
        "default",
        "none",
        "8bit",
        "binary",
        "iso_2022_cn",
        "x_user_defined",
        "utf_8_or_default",
        "charset",
        "default_charset",
        "_autodetect_all",
    }
)
#: Python codecs that are no charsets (bytes to bytes, escapes) and must never be reached from a mail
NO_CHARSET = frozenset(
    {
        "base64_codec",
        "bz2_codec",
        "hex_codec",
        "quopri_codec",
        "rot_13",
        "uu_codec",
        "zlib_codec",
        "mbcs",
        "idna",
        "punycode",
        "unicode_escape",
        "raw_unicode_escape",
        "undefined",
        "palmos",
    }
)
CODECS = frozenset(aliases.values()) - NO_CHARSET

COMMON_SIMPLIFIED = frozenset(
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事成方"
    "多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与长把机十民第公此已工使情"
    "明性知全三又关点正业外将两高间由问很最重并物手应战向头文体政美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给"
    "世位次度门任常先海通教儿原东声提立及比员解水名真论处走义各入几口认条平系气题活尔更别打女变四神总何电数安少报才结反受目太"
    "量再感建务做接必场件计管期市直德资命山金指克许统区保至队形社便空决治展马科司五基眼书非则听白却界达光放强即像难且权思王象"
    "完设式色路记南品住告类求据程北边死张该交规万取拉格望觉术领共确传师观清今切院让识候带导争运"
    "您请订货单退款换发票物流快递收件客服投诉质量问题商品买卖店铺支付账号优惠券补偿尽快联系谢谢邮"
)
COMMON_TRADITIONAL = frozenset(
    "的一是不了在人有我他這個們中來上大為和國地到以說時要就出會可也你對生能而子那得於著下自之年過發後作裡用道行所然家種事成方"
    "多經麼去法學如都同現當沒動面起看定天分還進好小部其些主樣理心她本前開但因只從想實日軍者意無力它與長把機十民第公此已工使情"
    "明性知全三又關點正業外將兩高間由問很最重並物手應戰向頭文體政美相見被利什二等產或新己制身果加西斯月話合回特代內信表化老給"
    "世位次度門任常先海通教兒原東聲提立及比員解水名真論處走義各入幾口認條平系氣題活爾更別打女變四神總何電數安少報才結反受目太"
    "量再感建務做接必場件計管期市直德資命山金指許統區保至隊形社便空決治展馬科司五基眼書非則聽白卻界達光放強即像難且權思王象完"
    "設式色路記南品住告類求據程北邊死張該交規萬取拉格望覺術領共確傳師觀清今切院讓識候帶導爭運"
    "您請訂貨單退款換發票物流快遞收件客服投訴質量問題商品買賣店鋪支付帳號優惠券補償盡快聯繫謝謝郵"
)
#: the first plane of GB2312 and of Big5, ordered by use when they were made
FIRST_GB = frozenset(bytes((a, b)).decode("gb2312", "ignore") for a in range(0xB0, 0xD8) for b in range(0xA1, 0xFF))
FIRST_BIG5 = frozenset(bytes((a, b)).decode("big5", "ignore") for a in range(0xA4, 0xC7) for b in (*range(0x40, 0x7F), *range(0xA1, 0xFF)))
NOTHING: frozenset[str] = frozenset()
HIGH = re.compile(rb"[\x80-\xff]")
HIGH_RUN = re.compile(rb"[\x80-\xff]+")
SAMPLE = 8192
HZ_TEXT = re.compile(rb"~\{(?:[\x21-\x77][\x21-\x7e])+~\}")
JIS_TEXT = re.compile(rb"\x1b\$[@B]|\x1b\(J")


@lru_cache(maxsize=512)
def codecs_of(label: str) -> tuple[str, ...]:
    """The codecs to try for a declared label, narrowest first; empty for a label that is unknown or says nothing."""
    name = normalize_encoding(label.strip().strip("\"'").lower()[:60]).replace("-", "_")
    if name in EMPTY:
        return ()
    if name in WIDENED:
        return WIDENED[name]
    for candidate in (
        name,
        name.removeprefix("x_"),
        name.replace("iso8859", "iso_8859"),
        name.replace("windows_", "cp").replace("win_", "cp"),
        name.replace("_", ""),
    ):
        if candidate in WIDENED:
            return WIDENED[candidate]
        found = aliases.get(candidate, candidate)
        if found in CODECS:
            return WIDENED.get(found, (found,))
    return ()


def decode(data: bytes, label: str = "", hint: str = "") -> tuple[str, bool]:
    """The text of `data` and whether the reading is doubtful.

    label: the declared charset, as it stands in the mail; hint: another label of the same mail, tried when there is none or it fails.
    """
    codecs = codecs_of(label) if label else ()
    if data.isascii():
        return decode_ascii(data, codecs)
    if codecs == ("utf-8",):
        try:
            return data.decode("utf-8").removeprefix("\ufeff"), False
        except UnicodeDecodeError:
            pass
    elif codecs:
        text = decode_declared(data, codecs)
        if text is not None:
            return text, False
    return decode_damaged(data, codecs, codecs_of(hint) if hint else ())


def decode_ascii(data: bytes, codecs: tuple[str, ...]) -> tuple[str, bool]:
    """7-bit bytes: plain ASCII unless the label, or the escapes in the text, say that it is one of the 7-bit encodings."""
    if codecs and codecs[0] in {"hz", "utf-7", "iso2022_jp_ext", "iso2022_kr", "utf_16", "utf_16_be", "utf_16_le", "utf_32"}:
        for codec in codecs:
            try:
                return data.decode(codec), False
            except (UnicodeError, LookupError):
                continue
        return data.decode(codecs[0], "replace"), True
    if b"\x1b$" in data and JIS_TEXT.search(data):
        return data.decode("iso2022_jp_ext", "replace"), False
    if b"~{" in data and HZ_TEXT.search(data):
        return data.decode("hz", "replace"), False
    return data.decode("ascii"), False


def decode_declared(data: bytes, codecs: tuple[str, ...]) -> str | None:
    """What the declared label makes of the bytes, or None when it plainly does not fit them."""
    if codecs[0].startswith("utf_16") or codecs[0].startswith("utf_32"):
        return strictly(data, codecs)
    as_utf8 = looks_utf8(data)
    if as_utf8 is not None:
        return as_utf8
    if codecs is LATIN:
        # Latin-1 fits any bytes, so it proves nothing: Chinese webmail and old scripts put it on GBK text
        guess = guess_chinese(data, latin=True)
        if guess is not None:
            return guess
    return strictly(data, codecs)


def decode_damaged(data: bytes, codecs: tuple[str, ...], hinted: tuple[str, ...]) -> tuple[str, bool]:
    """No label, or one that does not fit: another label of the mail, UTF-8, a guess, and at last replacement characters."""
    if not codecs or codecs != ("utf-8",):
        try:
            return data.decode("utf-8").removeprefix("\ufeff"), False
        except UnicodeDecodeError:
            pass
    if codecs:
        # a cut or a single bad byte in otherwise right text: keep the label and mark the spot
        text = data.decode(codecs[-1], "replace")
        damage = text.count("\ufffd")
        if damage <= 1 + sum(1 for c in text[:SAMPLE] if c > "\x7f") // 20:
            sound = len(HIGH.findall(data[:SAMPLE])) - damage
            if sound >= 4 * damage:
                return text.removeprefix("\ufeff"), True
    if hinted and hinted is not LATIN and hinted != codecs:
        text = strictly(data, hinted)
        if text is not None:
            return text, False
    guess = guess_chinese(data)
    if guess is not None:
        return guess, False
    return guess_other(data, codecs), True


def strictly(data: bytes, codecs: tuple[str, ...]) -> str | None:
    for codec in codecs:
        try:
            return data.decode(codec).removeprefix("\ufeff")
        except (UnicodeError, LookupError):
            continue
    return None


def looks_utf8(data: bytes) -> str | None:
    """The text, where bytes with another label are UTF-8 beyond doubt: all valid, with more than one multi-byte character.

    Two-byte sequences alone prove little (the GBK of 联通 is valid UTF-8), three-byte ones prove it: GBK pairs do not fall so by chance.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    wide = sum(1 for c in text[:SAMPLE] if c > "\u07ff")
    narrow = sum(1 for c in text[:SAMPLE] if "\x7f" < c <= "\u00ff")
    return text.removeprefix("\ufeff") if wide >= 1 or narrow >= 2 else None


def guess_chinese(data: bytes, latin: bool = False) -> str | None:
    """GB18030 or Big5 text, recognised by common characters; None when neither is likely. latin: the label says so, ask for more proof.

    Works on short runs (a subject, a name), where statistical detectors fail: one common character of two is enough.
    """
    sample = sample_of(data)
    runs = HIGH_RUN.findall(sample)
    if not runs:
        return None
    # accented letters stand alone; so do Big5 characters with a low second byte
    lonely = sum(len(run) == 1 for run in runs) * 2 > len(runs)
    best, best_score = "", 0.0
    pairs = all(len(run) % 2 == 0 for run in runs)  # GB2312 has both bytes high
    for codec, common, everyday in (
        ("gb18030", COMMON_SIMPLIFIED, FIRST_GB if pairs else NOTHING),
        ("cp950", COMMON_TRADITIONAL, FIRST_BIG5),
    ):
        text = sample.decode(codec, "replace")
        score = commonness(text, common, everyday)
        if score > best_score:
            best, best_score = codec, score
    if best_score < (0.75 if lonely or latin else 0.35) or (lonely and latin):
        return None
    if best_score < 0.9 and kana_share(sample) > 0.3:
        return None
    return data.decode(best, "replace")


def commonness(text: str, common: frozenset[str], everyday: frozenset[str]) -> float:
    """How much a text looks like Chinese: 1 where every character is an everyday one, below 0 where many are damaged or private."""
    wide = [c for c in text if c > "\x7f"]
    if not wide:
        return 0.0
    score = 0.0
    if len(wide) >= 12:
        everyday = NOTHING  # a short text may hold no common character; a long one always does
    for c in wide:
        if c in common:
            score += 1.0
        elif c in everyday:
            score += 0.5
        elif "\u4e00" <= c <= "\u9fff":
            score += 0.3
        elif c in "，。！？：；、（）“”《》…—【】０１２３４５６７８９　":
            score += 0.6
        elif c == "\ufffd" or "\ue000" <= c <= "\uf8ff":
            score -= 1.0
        else:
            score -= 0.3
    return score / len(wide)


def kana_share(sample: bytes) -> float:
    """The share of kana when the bytes are read as Shift JIS or EUC-JP, whichever has more."""
    best = 0.0
    for codec in ("cp932", "euc_jp"):
        text = sample.decode(codec, "replace")
        wide = [c for c in text if c > "\x7f"]
        if wide and text.count("\ufffd") * 20 <= len(wide):
            best = max(best, sum("\u3041" <= c <= "\u30fe" for c in wide) / len(wide))
    return best


def guess_other(data: bytes, codecs: tuple[str, ...]) -> str:
    """Anything else: Japanese and Korean by their letters, the rest by charset-normalizer on a sample, and cp1252 when that gives up."""
    sample = sample_of(data)
    runs = HIGH_RUN.findall(sample)
    if sum(len(run) == 1 for run in runs) * 2 <= len(runs):
        for codec, low, high in (("cp932", "\u3041", "\u30fe"), ("euc_jp", "\u3041", "\u30fe"), ("cp949", "\uac00", "\ud7a3")):
            text = sample.decode(codec, "replace")
            wide = [c for c in text if c > "\x7f"]
            if wide and text.count("\ufffd") * 20 <= len(wide) and sum(low <= c <= high for c in wide) > 0.4 * len(wide):
                return data.decode(codec, "replace")
        if len(sample) >= 32:
            match = from_bytes(
                sample, steps=3, chunk_size=256, cp_exclusion=["utf_7", "utf_16", "utf_32", "cp037", "cp500", "cp1026"]
            ).best()
            if match is not None:
                return data.decode(match.encoding, "replace")
    fallback = codecs if codecs and codecs not in (("utf-8",), GB, BIG5) else LATIN
    return strictly(data, fallback) or data.decode(fallback[-1], "replace")


def sample_of(data: bytes) -> bytes:
    """A bounded piece of the text that begins where the first byte above ASCII stands."""
    first = HIGH.search(data)
    start = max(0, first.start() - 64) if first else 0
    sample = data[start : start + SAMPLE]
    return sample if len(sample) < SAMPLE else sample[: sample.rfind(b"\n") + 1] or sample
