"""What is new in a reply, and what the writer's client put under it: earlier mail, signatures. Pure.

When unsure the text stays: a complaint shown with an old letter under it does less harm than one that lost its middle. Nothing is
thrown away: every line that is not in `new` is in `quoted`, in its order. Shapes are those that mail clients write (Outlook, Gmail, Apple
Mail, Thunderbird, QQ, NetEase, Foxmail, Alibaba, mobile clients) in Chinese, English and the common European languages.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from services.intake.mail.html import QUOTE_MARK

#: below this many lines the reading is exact; what is longer is no letter, and is cut by its ">" marks only
MAX_LINES = 20_000

FROM_LABELS = (
    "发件人|寄件者|寄件人|發件人|发信人|From|Von|De|Da|Van|Fra|Från|Od|Lähettäjä|От кого|От|差出人|送信者"
    "|보낸 ?사람|Kimden|Gönderen|Feladó"
    "|Expéditeur|Remitente|Mittente|Odesílatel|Remetente|Avsändare|Afzender|De la|Expeditor"
)
SUBJECT_LABELS = (
    "主[ \\t　]*[题題旨]|Subject|Betreff|Objet|Sujet|Asunto|Oggetto|Assunto|Onderwerp|Emne|Ämne|Temat|Aihe"
    "|Тема|件名|제목|Konu|Tárgy|Předmět|Subiect"
)
DATE_LABELS = (
    "发送时间|发件时间|发送日期|寄件日期|傳送時間|發送時間|发送于|日[ \\t　]*期|时间|時間|Sent at|Sent|Date"
    "|Gesendet(?: am)?|Datum|Envoyé(?: le)?|Enviado(?: el| em)?|Fecha|Inviato|Data"
    "|Enviada(?: em)?|Verzonden|Sendt|Dato|Skickat|Wysłano|Lähetetty|Päivämäärä|Отправлено|Дата|送信日時|日付"
    "|日時|보낸 ?날짜|날짜|Gönderilme Tarihi|Tarih|Elküldve|Dátum|Odesláno|Trimis"
)
TO_LABELS = (
    "收件人|收件者|抄送人?|副本|To|Cc|An|À|Para|Per|A|Aan|Til|Till|Do|Komu|Vastaanottaja|Кому|Копия|宛先"
    "|받는 ?사람|참조|Kime|Címzett|Kopie|Kopia|Copie|Pour|Către|Reply-To"
)
LABELLED = re.compile(
    rf"[ \t>*|]*(?:(?P<sender>{FROM_LABELS})|(?P<subject>{SUBJECT_LABELS})|(?P<date>{DATE_LABELS})"
    rf"|(?P<recipient>{TO_LABELS}))[ \t　*]*(?:[:：]|\|)",
    re.IGNORECASE,
)

ORIGINAL = (
    "原始邮件|原始信件|邮件原件|原邮件|回复的原邮件|原始郵件|原郵件|Original Message|Original Mail"
    "|Original e-?mail|Original Appointment|Original|Replied Message|Reply Separator|Reply message"
    "|Ursprüngliche Nachricht|Ursprüngliche E-?Mail|Original-?Nachricht|Message d[’'\x60]origine"
    "|Message original|Mensaje original|Messaggio originale|Mensagem original|Oorspronkelijk bericht"
    "|Oprindelig meddelelse|Ursprungligt meddelande|Opprinnelig melding|Alkuperäinen viesti"
    "|Oryginalna wiadomość|Wiadomość oryginalna|Původní zpráva|Eredeti üzenet"
    "|Исходное сообщение|Оригинальное сообщение|元のメッセージ|원본 ?메시지|원본 ?메일|Orijinal mesaj|Mesaj original"
)
FORWARDED = (
    "转发邮件信息|转发邮件|转发的邮件|轉寄郵件|轉寄的郵件|轉寄訊息|已转发邮件|Forwarded message"
    "|Forwarded mail|Forward(?:ed)? by .{1,80}|Begin forwarded message|Weitergeleitete Nachricht"
    "|Anfang der weitergeleiteten (?:Nachricht|E-?Mail)"
    "|Message transféré|Message transmis|Début du message (?:réexpédié|transféré)|Mensaje reenviado"
    "|Inicio del mensaje reenviado|Messaggio inoltrato|Inizio messaggio inoltrato|Mensagem (?:encaminhada"
    "|reenviada)"
    "|Doorgestuurd bericht|Begin doorgestuurd bericht|Vidarebefordrat (?:brev|meddelande)"
    "|Videresendt (?:meddelelse|melding)|Пересланное сообщение|Пересылаемое сообщение|転送メッセージ"
    "|전달된 ?(?:메일|메시지)"
)
SEPARATOR = re.compile(
    rf"[ \t*]*(?P<before>[-=_—－]{{2,}}[ \t]*)?(?P<word>{ORIGINAL})[ \t]*[:：]?(?P<after>[ \t]*[-=_—－]{{2,}})?[ \t*]*", re.IGNORECASE
)
FORWARD = re.compile(
    rf"[ \t*]*(?P<before>[-=_—－]{{2,}}[ \t]*)?(?P<word>{FORWARDED})[ \t]*[:：]?(?P<after>[ \t]*[-=_—－]{{2,}})?[ \t*]*", re.IGNORECASE
)
FORWARD_SUBJECT = re.compile(r"\s*(?:fwd?|wg|tr|rv|enc|doorst|vb|vs|pd|i|转发|轉寄|轉發|转寄|转)\s*(?:\[\d+\])?\s*[:：]", re.IGNORECASE)
RULE = re.compile(r"[ \t]*[-_=—*]{5,}[ \t]*")

VERB = re.compile(
    r"\b(?:wrote|writes|schrieb|schreibt|a [ée]crit|escribi[óo]|ha scritto|scrive|escreveu|schreef|geschreven"
    r"|skrev|skreiv|kirjoitti|napisał(?:a|\(a\))?|pisze|napsal(?:a|\(a\))?|napísal|írta"
    r"|написал(?:а|\(а\))?|пишет|пише|написав|yazdı|ha escrit|a scris|έγραψε|đã viết|menulis|rašė)(?![\w])"
    r"|写道|寫道|写到|のメール|書きました|님이 (?:작성|쓴)|작성\s*[:：]",
    re.IGNORECASE,
)
EVIDENCE = re.compile(r"@|\b\d{1,2}[:：h.]\d{2}\b|\b(?:19|20)\d{2}\b|(?:19|20)\d{2}年|\b\d{1,2}[./-]\d{1,2}[./-]\d{2,4}\b")
OPENER = re.compile(
    r"[ \t*-]*(?:(?:On|Am|Le|El|Il|Em|No dia|Op|Den|Kl|På|W dniu|Dnia|Dne|At|In|Pe|Vào|Pada)(?=[\s\d,.:])"
    r"|在|于|於|\d{1,4}[-./年])",
    re.IGNORECASE,
)
ATTRIBUTION_END = re.compile(r"[:：][ \t*\"]*$|(?:wrote|写道|寫道|schrieb|écrit|escribió|scritto)[ \t]*-{0,8}[ \t]*$", re.IGNORECASE)
DATED_SENDER = re.compile(r"[ \t]*\d{4}(?:[-/.]|年)\s?\d{1,2}(?:[-/.]|月)\s?\d{1,2}.{0,120}<[^<>@\s]+@[^<>\s]+>[ \t]*[:：]")
QUOTING = re.compile(r"[ \t]*(?:Quoting|Zitat von|Citando a?|Quoted from|Selon|引用)\s.{1,200}[:：][ \t]*", re.IGNORECASE)

QUOTED_LINE = re.compile(rf"{QUOTE_MARK}|[ \t]{{0,3}}(?:>(?!From )|＞|&gt;)")
SIGNATURE_MARK = re.compile(r"--[ \t]?|--\xa0|– |—")
SENT = (
    "Sent|Envoyé|Inviato|Enviado|Enviada|Gesendet|Verzonden|Verstuurd|Sendt|Skickat|Lähetetty|Wysłan[eo]"
    "|Отправлено|Odesláno|Trimis|Gönderildi"
)
MY = "my|mon|ma|meinem?r?|mi|(?:il )?mio|(?:la )?mia|(?:o )?meu|minha|mijn|min|mit|moje(?:go|j)|моего|mého|meul"
DEVICE = (
    "iPhone|iPad|iPod|Android|Samsung|Galaxy|BlackBerry|Outlook|Yahoo|AOL|Hotmail|Windows|Nokia|Lumia|Huawei|Xiaomi|Redmi"
    "|OnePlus|HTC|Xperia|Pixel|Nexus"
    "|Motorola|Verizon|AT&T|T-Mobile|Wireless|phone|mobile?|tablet|handheld|device|Proton ?Mail|Gmail|Thunderbird|Mail for"
    "|Apple Mail|App Suite|Mailspring|Spark"
)
BRAND = "网易|QQ|手机|新浪|搜狐|华为|小米|Foxmail|iPhone|iPad|Outlook|阿里|安卓|189|139|移动|vivo|OPPO|魅族|三星|荣耀"
#: a whole line that a mobile client adds; "Sent from the warehouse" and "来自华为商城的订单" are none
MOBILE = re.compile(
    rf"[ \t>*(\[]*(?:(?:{SENT})\s(?:\S+\s){{0,3}}?(?:(?:{MY})\s\S.{{0,60}}|.{{0,30}}\b(?:{DEVICE})\b.{{0,40}})"
    r"|Get Outlook for .{1,30}|Von meinem .{1,40} gesendet|Diese Nachricht wurde von meinem .{1,60}"
    r"|Télécharge[rz] Outlook .{1,30}|Obtener Outlook .{1,40}|Outlook für .{1,30}"
    rf"|(?:本邮件|此邮件)?[发發来來]自\s?(?:我的.{{1,30}}|(?:{BRAND})[^的，。,!！?？]{{0,16}})"
    rf"|[从從]\s?(?:我的|Windows|{BRAND}).{{0,20}}(?:[发發]送|[发發]出|傳送|寄出)"
    r"|(?:获取|獲取|下载|取得)\s?(?:适用于|適用於)?.{0,12}\s?Outlook.{0,20}"
    r"|(?:[发發]送自|傳送自)\s?.{0,20}(?:Outlook|iPhone|iPad|Android|手机|手機|邮箱|郵件|邮件).{0,20}"
    r"|iPhoneから送信|나의 .{1,20}에서 보냄)[ \t.。)\]>*]*",
    re.IGNORECASE,
)
LIST_FOOTER = re.compile(r"_{20,}|-{20,}|={20,}")
LIST_WORDS = re.compile(r"mailing list|unsubscribe|listinfo|退订|取消订阅|listserv|groups\.|to post to this", re.IGNORECASE)
MAX_SIGNATURE = 12


class Cut(msgspec.Struct, frozen=True):
    """A letter divided: what is new, and the rest in its order."""

    new: str
    quoted: str


def cut(text: str, subject: str = "", has_attachments: bool = False) -> Cut:
    """Divide a letter into what is new and what is not. `text` has \\n line ends; HTML quotations carry QUOTE_MARK.

    A forwarded letter stays whole: it is what the sender wants read. Where nothing new would be left and no attachment speaks for
    itself, the whole text counts as new.
    """
    lines = [line.rstrip() if line != "-- " else line for line in text.split("\n")]
    quoted = [QUOTED_LINE.match(line) is not None for line in lines]
    stop, keep_from = len(lines), len(lines)
    if len(lines) <= MAX_LINES:
        stop, keep_from = find_cut(lines, quoted, FORWARD_SUBJECT.match(subject) is not None)
    dropped = set(range(stop, keep_from))
    drop_quotations(lines, quoted, min(stop, keep_from), dropped)
    if not has_words(lines, dropped, 0, stop) and stop < len(lines) and keep_from == len(lines):
        # everything stands under a separator: an answer below ">" lines, or no answer at all
        below = set(range(stop, block_end(lines, quoted, stop)))
        drop_quotations(lines, quoted, len(lines), below)
        if any(quoted[stop:]) and has_words(lines, below, stop, len(lines)):
            dropped = below
    if keep_from == len(lines):
        drop_signature(lines, dropped)
    new = join(lines, [i for i in range(len(lines)) if i not in dropped])
    if not new.strip() and not (has_attachments and dropped):
        return Cut(join(lines, range(len(lines))).strip("\n"), "")
    return Cut(new.strip("\n"), join(lines, sorted(dropped)).strip("\n"))


def join(lines: Sequence[str], chosen: Sequence[int]) -> str:
    return "\n".join(lines[i].lstrip(QUOTE_MARK).rstrip() for i in chosen)


def has_words(lines: Sequence[str], dropped: set[int], start: int, stop: int) -> bool:
    """Whether any readable character stands in the lines that are not dropped, mobile signatures aside."""
    return any(i not in dropped and lines[i].strip(" \t-_=*>") and not MOBILE.fullmatch(lines[i]) for i in range(start, stop))


def find_cut(lines: Sequence[str], quoted: Sequence[bool], forward: bool) -> tuple[int, int]:
    """Where earlier mail begins, and from where on lines are kept all the same (a forwarded letter); both len(lines) for never."""
    never = len(lines)
    for i, line in enumerate(lines):
        if quoted[i] or len(line) > 1000 or not line.strip():
            continue
        match = FORWARD.fullmatch(line)
        if match and (
            match["before"]
            or match["after"]
            or labels_follow(lines, i + 1)
            or "begin" in line.lower()
            or line.rstrip().endswith((":", "："))
        ):
            return never, i
        match = SEPARATOR.fullmatch(line)
        if match and (both_rules(match) or labels_follow(lines, i + 1)):
            return (never, i) if forward else (i, never)
        if LABELLED.match(line) and is_header_block(lines, i):
            start = i
            while start and (not lines[start - 1].strip() or RULE.fullmatch(lines[start - 1])) and i - start < 3:
                start -= 1
            return (never, start) if forward else (start, never)
        if ATTRIBUTION_END.search(line):
            start = attribution_start(lines, quoted, i)
            if start >= 0 and not quote_follows(quoted, lines, i):
                return start, never
    return never, never


def both_rules(match: re.Match[str]) -> bool:
    """A separator word counts alone only between rules; the bare word Original needs them on both sides."""
    return bool(match["before"] and match["after"]) or (bool(match["before"] or match["after"]) and match["word"].lower() != "original")


def labels_follow(lines: Sequence[str], start: int) -> bool:
    """Whether a header label stands in the next lines."""
    return any(LABELLED.match(line) for line in lines[start : start + 4])


def is_header_block(lines: Sequence[str], start: int) -> bool:
    """Whether a block of copied mail headers begins here: sender near its top, subject, and date or recipients.

    A subject is asked for, or an address, because customers write 收件人 and 寄件人 about their parcels.
    """
    kinds: set[str] = set()
    address = False
    misses = 0
    for offset, line in enumerate(lines[start : start + 14]):
        match = LABELLED.match(line)
        if match is None:
            misses += bool(line.strip())
            if misses > 4 or (offset and not line.strip() and len(kinds) >= 3):
                break
            continue
        kind = match.lastgroup or ""
        if offset > 3 and not kinds & {"sender"}:
            return False
        kinds.add(kind)
        address = address or "@" in line
    if "sender" not in kinds:
        return False
    if "subject" in kinds:
        return bool(kinds & {"date", "recipient"})
    return address and {"date", "recipient"} <= kinds


def attribution_start(lines: Sequence[str], quoted: Sequence[bool], end: int) -> int:
    """The first line of an attribution ("On ... wrote:") that ends at `end`, or -1 where there is none beyond doubt.

    Wrapped ones run over up to four lines. Asked for besides the verb: an address, a year, a time or a full date.
    """
    if DATED_SENDER.fullmatch(lines[end]) or QUOTING.fullmatch(lines[end]):
        return end
    window = ""
    plain = -1
    for start in range(end, max(end - 4, -1), -1):
        if quoted[start] or not lines[start].strip() or len(window) > 600:
            break
        window = lines[start].strip() + (" " + window if window else "")
        if not VERB.search(window) or not EVIDENCE.search(window):
            continue
        if OPENER.match(window):
            return start
        if plain < 0 and start == end and len(window) < 300:
            plain = start
    if (
        plain < 0
        and len(window) < 400
        and VERB.search(lines[end])
        and EVIDENCE.search(lines[end - 1] + lines[end] if end else lines[end])
        and "@" in window
    ):
        plain = end
    return plain


def quote_follows(quoted: Sequence[bool], lines: Sequence[str], end: int) -> bool:
    """Whether the next written line after `end` is quoted."""
    for i in range(end + 1, min(end + 5, len(lines))):
        if lines[i].strip(QUOTE_MARK + " \t"):
            return quoted[i]
    return False


def drop_quotations(lines: Sequence[str], quoted: Sequence[bool], stop: int, dropped: set[int]) -> None:
    """Drop ">" lines before `stop` and the attribution over each run of them; the answers between them stay."""
    for i in range(stop):
        if not quoted[i]:
            continue
        dropped.add(i)
        if i and not quoted[i - 1]:
            above = i - 1
            while above > 0 and not lines[above].strip() and i - above < 3:
                above -= 1
            if quoted[above] or above in dropped:
                continue
            start = attribution_start(lines, quoted, above) if ATTRIBUTION_END.search(lines[above]) else -1
            if start < 0 and VERB.search(lines[above]) and ATTRIBUTION_END.search(lines[above]) and len(lines[above]) < 200:
                start = above
            if start < 0 and SEPARATOR.fullmatch(lines[above]):
                start = above
            if start >= 0:
                dropped.update(range(start, i))


def block_end(lines: Sequence[str], quoted: Sequence[bool], start: int) -> int:
    """The end of a separator and the header lines under it."""
    end = start + 1
    while (
        end < len(lines) and not quoted[end] and (not lines[end].strip() or LABELLED.match(lines[end]) or SEPARATOR.fullmatch(lines[end]))
    ):
        end += 1
    return end


def drop_signature(lines: Sequence[str], dropped: set[int]) -> None:
    """Drop what stands under a signature mark (RFC 3676 section 4.3), mobile clients' own lines, and the footer of a mailing list."""
    written = [i for i in range(len(lines)) if i not in dropped and lines[i].strip()]
    begin = max(0, len(written) - 4 * MAX_SIGNATURE)
    for place, i in enumerate(written[begin:], begin):
        rest = written[place + 1 :]
        line = lines[i]
        if len(line) < 90 and place and MOBILE.fullmatch(line):
            dropped.add(i)
            if len(rest) <= 2 and all(len(lines[j]) < 60 for j in rest) and not any(ends_sentence(lines[j]) for j in rest):
                dropped.update(rest)
        elif place and SIGNATURE_MARK.fullmatch(line) and (line == "-- " or len(rest) <= MAX_SIGNATURE):
            if len(rest) <= 3 * MAX_SIGNATURE:
                dropped.update((i, *rest))
                return
        elif (
            place and LIST_FOOTER.fullmatch(line.strip()) and len(rest) <= MAX_SIGNATURE and any(LIST_WORDS.search(lines[j]) for j in rest)
        ):
            dropped.update((i, *rest))
            return


def ends_sentence(line: str) -> bool:
    return line.rstrip().endswith(("。", "！", "？", "!", "?", "；"))
