"""Scripts and languages: traditional characters folded into simplified ones, and which of our three languages a text is in. Pure.

The table holds the characters that customers' complaints are likely to hold, not the whole of Unicode; what it lacks stays as it is.
Folding is for comparing only: nothing that a person reads is ever rewritten with it.
"""

from __future__ import annotations

import re

from shared.complaint import Locale

# Pairs: traditional, simplified.
PAIRS = (
    "萬万與与專专業业叢丛東东絲丝兩两嚴严喪丧個个豐丰臨临為为爲为麗丽舉举義义烏乌樂乐喬乔習习鄉乡書书買买亂乱爭争虧亏雲云亞亚產产產产畝亩親亲億亿僅仅從从侖仑倉仓儀仪們们價价眾众優优"
    "夥伙會会傘伞偉伟傳传傷伤倫伦偽伪體体餘余傭佣僑侨側侧偵侦債债傾倾償偿儲储兒儿黨党蘭兰關关興兴養养獸兽內内岡冈冊册寫写軍军農农馮冯沖冲決决況况凍冻淨净涼凉減减湊凑幾几鳳凤憑凭凱凯"
    "擊击鑿凿劃划劉刘則则剛刚創创刪删別别剎刹劑剂劍剑劇剧勸劝辦办務务動动勵励勁劲勞劳勢势勝胜匯汇區区醫医華华協协單单賣卖盧卢衛卫卻却廠厂廳厅曆历歷历厲厉壓压厭厌廁厕廂厢廈厦廚厨縣县參参"
    "雙双發发變变敘叙疊叠葉叶號号嘆叹嚇吓呂吕嗎吗啟启吳吴員员嘔呕聽听唄呗嗆呛響响啞哑嘩哗噴喷嘗尝囉啰團团園园困困圍围國国圖图圓圆聖圣場场壞坏塊块堅坚壇坛壩坝墳坟墜坠壘垒墊垫塵尘牆墙壯壮聲声殼壳"
    "處处備备復复復复夠够頭头誇夸夾夹奪夺奮奋獎奖妝妆婦妇媽妈嬌娇嬰婴嬸婶孫孙學学寧宁寶宝實实寵宠審审憲宪宮宫寬宽賓宾寢寝對对尋寻導导壽寿將将爾尔塵尘嘗尝屍尸盡尽層层屆届屬属歲岁豈岂島岛嶺岭"
    "帥帅師师帳帐簾帘帶带幫帮幣币幹干廢废廣广慶庆庫库應应廟庙開开異异棄弃張张彌弥彎弯彈弹強强歸归當当錄录徹彻徑径後后禦御憶忆憂忧懷怀態态慫怂憐怜總总戀恋懇恳惡恶惱恼懸悬驚惊懼惧慘惨懲惩慚惭慣惯"
    "憤愤願愿懶懒戲戏戰战戶户紮扎撲扑執执擴扩掃扫揚扬擾扰撫抚拋抛搶抢護护報报擔担擬拟攏拢揀拣擁拥攔拦擰拧撥拨擇择掛挂擋挡掙挣擠挤揮挥撈捞損损撿捡換换據据擲掷攝摄擺摆搖摇攤摊撐撑攪搅敵敌數数齊齐"
    "斷断無无舊旧時时曠旷晝昼顯显曬晒曉晓暈晕暫暂術术樸朴機机殺杀雜杂權权條条來来楊杨傑杰極极構构樞枢棗枣槍枪櫃柜檸柠標标棧栈棟栋欄栏樹树樣样檔档橋桥夢梦檢检樓楼歡欢歐欧殘残殼壳毀毁畢毕氈毡氣气氫氢"
    "漢汉湯汤溝沟沒没淪沦滬沪淚泪瀉泻潑泼澤泽潔洁灑洒淺浅漿浆澆浇濁浊測测濟济瀏浏渾浑濃浓濤涛潤润漲涨澀涩淵渊漬渍漸渐漁渔滲渗溫温灣湾濕湿潰溃濺溅滾滚滯滞滿满濾滤濫滥濱滨灘滩瀝沥滅灭燈灯靈灵災灾"
    "燦灿爐炉點点煉炼爛烂燒烧燙烫熱热煥焕愛爱爺爷牽牵犧牺狀状猶犹獨独獅狮獄狱貓猫獻献獲获瑪玛環环現现璽玺電电畫画暢畅療疗瘋疯癢痒癮瘾瘡疮皺皱鹽盐監监蓋盖盜盗盤盘眾众睜睁瞞瞒矚瞩矯矫礦矿碼码磚砖"
    "硯砚礎础確确礙碍禮礼禍祸禱祷離离種种積积稱称穩稳窮穷竊窃競竞筆笔筍笋築筑籤签籃篮簡简簽签類类糧粮糞粪緊紧糾纠紅红紀纪約约級级純纯紗纱納纳紛纷紙纸紋纹紡纺線线練练組组細细織织終终紹绍經经綁绑"
    "結结繞绕給给絕绝絡络統统絹绢繼继續续繩绳維维綿绵綜综綠绿綴缀網网緒绪緩缓締缔編编緣缘縫缝縮缩繳缴罐罐罰罚罷罢羅罗羨羡聯联聰聪職职聾聋聖圣肅肃腸肠膚肤腎肾腫肿脹胀脅胁膽胆勝胜腦脑臟脏髒脏膠胶"
    "臉脸臘腊艦舰艙舱艱艰艷艳藝艺節节蘋苹範范莖茎薦荐蕩荡榮荣藥药莊庄萊莱蓮莲獲获瑩莹營营蕭萧薩萨蔥葱蔣蒋藍蓝蘇苏蘆芦虛虚蟲虫蝦虾蝕蚀蠶蚕蠻蛮蟻蚁補补襯衬襪袜襲袭裝装裡里裏里製制複复見见觀观規规"
    "覺觉覽览觸触計计訂订認认討讨讓让訓训議议訊讯記记講讲許许論论設设訪访證证評评識识詐诈訴诉診诊詞词譯译試试詩诗誠诚話话誕诞詢询該该詳详誤误說说説说請请諸诸諾诺讀读課课誰谁調调諒谅談谈謀谋謊谎諧谐"
    "謝谢謹谨譜谱豬猪貝贝貞贞負负財财責责賢贤敗败貨货質质販贩貪贪貧贫購购貯贮貼贴貴贵貸贷貿贸費费賀贺賊贼賄贿資资賠赔賞赏賴赖賺赚賽赛贈赠贊赞贏赢趙赵趕赶躍跃蹤踪軀躯車车軌轨軟软轉转輪轮較较載载輕轻"
    "輛辆輩辈輯辑輸输轎轿辭辞邊边遼辽達达遷迁過过邁迈運运還还這这進进遠远違违連连遲迟適适選选遜逊遞递遺遗郵邮鄰邻鄭郑鄧邓醜丑醬酱釀酿釋释鑒鉴針针釘钉鈕钮鈔钞鋼钢鑰钥欽钦鈣钙錢钱鉗钳鉛铅銅铜銘铭銀银"
    "鋪铺銷销鎖锁鋒锋錯错錫锡鍋锅鍵键鏡镜鎮镇鏈链鐘钟鐵铁長长門门閃闪閉闭問问閒闲間间悶闷鬧闹聞闻閱阅闆板隊队陽阳陰阴陣阵階阶際际陸陆陳陈險险隨随隱隐難难雖虽霧雾靜静頂顶項项順顺須须預预領领頗颇頻频"
    "題题顏颜額额顛颠風风飄飘飛飞飢饥飯饭飲饮飽饱飾饰餃饺餅饼餓饿餐餐館馆饅馒馬马馳驰駕驾駛驶騎骑騙骗驗验騷骚驟骤鬆松鬍胡魚鱼鮮鲜鯊鲨鳥鸟雞鸡鴨鸭鵝鹅麥麦麵面麼么黃黄黴霉齒齿龍龙龜龟檯台臺台灰灰繫系係系"
    "週周迴回採采佈布佔占併并製制鐘钟鬥斗嚐尝燻熏姊姐妳你祂他牠它著着裡里線线綫线羣群麪面衹只隻只祇只穀谷幹干乾干後后誌志製制溼湿僱雇鞦秋韆千託托註注冇没唔不嘅的喺在咗了嚟来佢他哋们嘢东"
    "啲些乜什咁这攞拿俾给睇看揾找訢欣暱昵颱台徵征捨舍昇升嚮向闢辟衝冲牀床傢家凈净彆别畫画曏向嗶哔嚨咙嘍喽噁恶癒愈鑽钻錶表鬚须鬱郁籲吁讚赞"
)
TO_SIMPLIFIED = {ord(PAIRS[i]): PAIRS[i + 1] for i in range(0, len(PAIRS), 2) if PAIRS[i] != PAIRS[i + 1]}
TRADITIONAL_ONLY = frozenset(chr(code) for code in TO_SIMPLIFIED) - frozenset("後著隻乾幹係託註餐")
SIMPLIFIED_ONLY = (
    frozenset(TO_SIMPLIFIED.values())
    - frozenset(chr(code) for code in TO_SIMPLIFIED)
    - frozenset(
        "里后面只干系台回周着了不的他在给这看找你它姐家看来些什拿没别向表须千秋布占并采志制松斗谷舍升郁吁群征托注雇熏么丑云余范几冲胡尸累舌杯床愈板尝志"
    )
)
CANTONESE = frozenset("嘅咗喺嚟佢哋嘢啲冇唔咁攞")
HAN = re.compile(r"[\u3400-\u9fff]")
HAN_RUNS = re.compile(r"[\u3400-\u9fff]+")
LATIN_WORD = re.compile(r"[A-Za-z]{2,}")
#: Full-width ASCII, odd spaces and quotes, and the one capital whose lower case is two characters.
WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 32, 0xA0: 32, 0x2019: 39, 0x2018: 39, 0x130: ord("i")}
FOLDED: dict[int, int | str] = {**WIDTH, **TO_SIMPLIFIED}


def fold(text: str) -> str:
    """The text as rules and model see it: half width, lower case, simplified. As long as the text itself, so that places stay right."""
    return (text if text.isascii() else text.translate(FOLDED)).lower()


def language(text: str, default: str = "") -> str:
    """zh-CN, zh-TW or en by the characters used; `default` (or zh-CN) where the text does not tell."""
    sample = text[:4000]
    han = len(sample) - len(HAN_RUNS.sub("", sample))
    latin = len(LATIN_WORD.findall(sample))
    if not han and not latin:
        return default or Locale.ZH_CN.value
    if latin > 2 * han or not han:
        return Locale.EN.value
    used = set(sample)
    traditional = sum(map(sample.count, TRADITIONAL_ONLY & used)) + sum(map(sample.count, CANTONESE & used))
    simplified = sum(map(sample.count, SIMPLIFIED_ONLY & used))
    if traditional == simplified:
        return default if default in {Locale.ZH_CN.value, Locale.ZH_TW.value} else Locale.ZH_CN.value
    return Locale.ZH_TW.value if traditional > simplified else Locale.ZH_CN.value
