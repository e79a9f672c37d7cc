"""What a missing fact is called when we ask the customer for it, in every language. Data only."""

from __future__ import annotations

from shared.complaint import Locale
from shared.notice_details import MissingFact as Fact

FACT_WORDS: dict[Locale, dict[Fact, str]] = {
    Locale.ZH_CN: {
        Fact.ORDER_NUMBER: "订单号（在“我的订单”里可以查到）",
        Fact.PURCHASED_AT: "下单的时间，大概哪天就可以",
        Fact.PRODUCT: "是哪一件商品",
        Fact.MODEL: "商品的型号或规格（颜色、尺码等）",
        Fact.WHAT_HAPPENED: "事情的经过，简单说说就好",
        Fact.DEMAND: "您希望我们怎样解决（例如退款、换货、补发）",
        Fact.WANTED_BY: "您希望最晚什么时候解决",
        Fact.EVIDENCE: "能看清问题的照片或截图",
        Fact.CONTACT: "方便联系您的方式（手机号或邮箱）",
        Fact.PHONE: "方便接听的手机号",
        Fact.ADDRESS: "收货地址",
        Fact.TRACKING_NUMBER: "快递单号",
        Fact.INVOICE_TITLE: "发票抬头和税号",
    },
    Locale.ZH_TW: {
        Fact.ORDER_NUMBER: "訂單編號（可於「我的訂單」查詢）",
        Fact.PURCHASED_AT: "下單的時間，大約哪一天即可",
        Fact.PRODUCT: "是哪一件商品",
        Fact.MODEL: "商品的型號或規格（顏色、尺寸等）",
        Fact.WHAT_HAPPENED: "事情的經過，簡單說明即可",
        Fact.DEMAND: "您希望我們如何處理（例如退款、換貨、補寄）",
        Fact.WANTED_BY: "您希望最晚什麼時候解決",
        Fact.EVIDENCE: "看得清楚問題的照片或截圖",
        Fact.CONTACT: "方便與您聯絡的方式（手機號碼或電子郵件）",
        Fact.PHONE: "方便接聽的手機號碼",
        Fact.ADDRESS: "收件地址",
        Fact.TRACKING_NUMBER: "物流單號",
        Fact.INVOICE_TITLE: "發票抬頭與統一編號",
    },
    Locale.EN: {
        Fact.ORDER_NUMBER: "Your order number (you find it under \"My orders\")",
        Fact.PURCHASED_AT: "When you ordered; roughly is fine",
        Fact.PRODUCT: "Which item it is about",
        Fact.MODEL: "The model or variant (colour, size and so on)",
        Fact.WHAT_HAPPENED: "What happened, in a few words",
        Fact.DEMAND: "How you would like us to put it right (a refund, an exchange, a replacement, ...)",
        Fact.WANTED_BY: "By when you need it solved",
        Fact.EVIDENCE: "A photo or screenshot that shows the problem",
        Fact.CONTACT: "How we can reach you (mobile number or e-mail)",
        Fact.PHONE: "A mobile number on which we can reach you",
        Fact.ADDRESS: "The delivery address",
        Fact.TRACKING_NUMBER: "The tracking number of the parcel",
        Fact.INVOICE_TITLE: "The name and tax number for the invoice",
    },
}
