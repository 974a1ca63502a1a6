"""Small word lists of our own in six languages, from which the sample shop's names and texts are put together.

Products are a noun and a line's name in quotation marks ("Teapot “North”"), so that no language needs agreement.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["LANGUAGES", "Language", "Place"]


class Place(NamedTuple):
    """A city, its country, the digits of a postcode there, and the dialling code."""

    city: str
    country: str
    digits: int
    dial: str


@dataclass(frozen=True, slots=True)
class Language:
    """The words of one language. A street is what stands before and after the house number."""

    code: str
    currency: str
    names: tuple[str, ...]
    streets: tuple[tuple[str, str], ...]
    places: tuple[Place, ...]
    products: tuple[str, ...]
    downloads: tuple[str, ...]
    shops: tuple[str, ...]
    notes: tuple[str, ...]


def _names(given: str, family: str, *, family_first: bool = False) -> tuple[str, ...]:
    if family_first:
        return tuple(second + first for first in given.split() for second in family.split())
    return tuple(f"{first} {second}" for first in given.split() for second in family.split())


def _streets(names: str, write: Callable[[str], tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple(write(name) for name in names.split(", "))


def _products(nouns: str, lines: str, quotes: tuple[str, str]) -> tuple[str, ...]:
    opening, closing = quotes
    return tuple(f"{noun} {opening}{line}{closing}" for noun in nouns.split(", ") for line in lines.split())


_ENGLISH = Language(
    code="en",
    currency="USD",
    names=_names(
        "Alice Ben Clara Daniel Emma Frank Grace Henry Ivy Jack Kate Liam Mary Noah Olive Paul Ruth Sam Tess Walter",
        "Archer Baker Carter Dale Ellis Fisher Gray Hill Irwin Jones Knight Lane Marsh Nash Oakes Page Reed "
        "Stone Todd Wood",
    ),
    streets=_streets(
        "Maple Street, Station Road, Mill Lane, Harbour View, Church Street, Orchard Avenue, King's Road, "
        "Willow Drive, "
        "North Parade, Bridge Street, Meadow Close, Market Square",
        lambda name: ("", f" {name}"),
    ),
    places=(
        Place("Portland", "US", 5, "1"),
        Place("Springfield", "US", 5, "1"),
        Place("Brisbane", "AU", 4, "61"),
        Place("Wellington", "NZ", 4, "64"),
        Place("Singapore", "SG", 6, "65"),
    ),
    products=_products(
        "Teapot, Desk lamp, Wool blanket, Notebook, Rain jacket, Bread knife, Camping stove, Wall clock, "
        "Running shoes, Coffee grinder, Garden chair",
        "North River Amber Classic Breeze Summit Harvest Lark Cedar Nova",
        ("“", "”"),
    ),
    downloads=("Bread-baking course", "Knitting patterns", "Tax templates", "Guitar lessons", "Photo presets"),
    shops=("Harbour Goods", "The Quiet Desk", "Field & Kettle"),
    notes=(
        "Please leave it with the neighbours.",
        "Gift: no price on the slip, please.",
        "Ring twice, the bell is quiet.",
        "Deliver after six in the evening.",
        "Second attempt, the first parcel never came.",
        "I need an invoice for my company.",
    ),
)

_RUSSIAN = Language(
    code="ru",
    currency="RUB",
    names=_names(
        "Алексей Анна Борис Вера Виктор Галина Дмитрий Елена Иван Ирина Кирилл Лариса Максим Нина Олег Ольга "
        "Павел Раиса "
        "Сергей Юлия",
        "Бондаренко Белых Гончаренко Долгих Дорош Живаго Зайченко Коваленко Крутых Лысенко Мороз Назаренко Остапенко "
        "Павленко Седых Сидоренко Ткаченко Черных Шевчук Яременко",
    ),
    streets=_streets(
        "Садовая, Лесная, Заречная, Школьная, Полевая, Вокзальная, Набережная, Молодёжная, Цветочная, "
        "Мельничная, Новая, "
        "Кузнечная",
        lambda name: (f"ул. {name}, д. ", ""),
    ),
    places=(
        Place("Москва", "RU", 6, "7"),
        Place("Казань", "RU", 6, "7"),
        Place("Новосибирск", "RU", 6, "7"),
        Place("Алматы", "KZ", 6, "7"),
        Place("Минск", "BY", 6, "375"),
    ),
    products=_products(
        "Чайник, Настольная лампа, Шерстяной плед, Блокнот, Дождевик, Хлебный нож, Горелка, Настенные часы, "
        "Кроссовки, Кофемолка, Садовый стул",
        "Север Река Янтарь Классика Бриз Вершина Урожай Жаворонок Кедр Нова",
        ("«", "»"),
    ),
    downloads=("Курс выпечки хлеба", "Схемы вязания", "Шаблоны договоров", "Уроки гитары", "Набор фотофильтров"),
    shops=("Тихая пристань", "Лавка мастера", "Книга и чай"),
    notes=(
        "Оставьте, пожалуйста, у соседей.",
        "Это подарок, цену не указывайте.",
        "Звоните дважды, звонок тихий.",
        "Доставка после шести вечера.",
        "Второй раз заказываю: первая посылка не пришла.",
        "Нужен счёт на организацию.",
    ),
)

_SPANISH = Language(
    code="es",
    currency="EUR",
    names=_names(
        "Álvaro Beatriz Carlos Diana Emilio Fátima Gonzalo Helena Íñigo Julia Lucía Marcos Núria Óscar Pilar "
        "Rubén Sofía "
        "Tomás Úrsula Víctor",
        "Aguilar Benítez Castaño Durán Espinosa Fuentes Guzmán Herrero Ibáñez Jiménez Lozano Muñoz Núñez Ortega Peña "
        "Quintana Robles Sáez Torres Yáñez",
    ),
    streets=_streets(
        "Mayor, del Olivo, de la Fuente, San Telmo, del Molino, de los Herreros, del Puerto, de la Estación, "
        "Real, del Sol, "
        "de las Huertas, Nueva",
        lambda name: (f"Calle {name}, ", ""),
    ),
    places=(
        Place("Málaga", "ES", 5, "34"),
        Place("A Coruña", "ES", 5, "34"),
        Place("Ciudad de México", "MX", 5, "52"),
        Place("Bogotá", "CO", 6, "57"),
        Place("Asunción", "PY", 4, "595"),
    ),
    products=_products(
        "Tetera, Lámpara de mesa, Manta de lana, Cuaderno, Chubasquero, Cuchillo de pan, Hornillo, Reloj de "
        "pared, "
        "Zapatillas, Molinillo de café, Silla de jardín",
        "Norte Río Ámbar Clásico Brisa Cumbre Cosecha Alondra Cedro Nova",
        ("«", "»"),
    ),
    downloads=(
        "Curso de panadería",
        "Patrones de punto",
        "Plantillas de facturas",
        "Lecciones de guitarra",
        "Filtros de fotografía",
    ),
    shops=("La Casa del Té", "Taller de Añil", "Mercado Sereno"),
    notes=(
        "Déjenlo con los vecinos, por favor.",
        "Es un regalo: sin precio en el albarán.",
        "Llamen dos veces, el timbre suena poco.",
        "Entrega después de las seis de la tarde.",
        "Segundo intento: el primer paquete no llegó.",
        "¿Pueden enviar factura a nombre de la empresa?",
    ),
)

_ARABIC = Language(
    code="ar",
    currency="AED",
    names=_names(
        "أحمد أمينة باسم جميلة حسن خديجة رامي زينب سامي سلمى طارق عائشة عمر فاطمة كريم ليلى مريم نبيل هدى يوسف",
        "الأندلسي البغدادي التونسي الجبلي الحداد الخياط الدمشقي الرفاعي الزهراني السالم الشامي الصباغ الطيب "
        "العطار الفارس "
        "القاضي الكاتب المصري النجار الهاشمي",
    ),
    streets=_streets(
        "النخيل, الميناء, السوق القديم, المدرسة, الواحة, الزيتون, الساحل, المطار, الورود, القلعة, النور, البستان",
        lambda name: (f"شارع {name}، مبنى ", ""),
    ),
    places=(
        Place("دبي", "AE", 5, "971"),
        Place("القاهرة", "EG", 5, "20"),
        Place("عمّان", "JO", 5, "962"),
        Place("الدار البيضاء", "MA", 5, "212"),
        Place("مسقط", "OM", 3, "968"),
    ),
    products=_products(
        "إبريق شاي, مصباح مكتب, بطانية صوف, دفتر, معطف مطر, سكين خبز, موقد تخييم, ساعة حائط, حذاء جري, "
        "مطحنة قهوة, "
        "كرسي حديقة",
        "الشمال النهر الكهرمان الأصيل النسيم القمة الحصاد القبرة الأرز نوفا",
        ("«", "»"),
    ),
    downloads=("دورة خبز البيت", "نماذج حياكة", "قوالب عقود", "دروس عود", "مرشّحات صور"),
    shops=("بيت العود", "سوق الحرير", "مكتبة الواحة"),
    notes=(
        "يرجى تركه عند الجيران.",
        "هذه هدية، من فضلكم لا تذكروا السعر.",
        "الجرس خافت، رنّوا مرتين.",
        "التسليم بعد السادسة مساءً.",
        "أطلب للمرة الثانية، الطرد الأول لم يصل.",
        "أحتاج إلى فاتورة باسم الشركة.",
    ),
)

_PORTUGUESE = Language(
    code="pt",
    currency="BRL",
    names=_names(
        "Antônio Bruna Caio Débora Estêvão Flávia Gustavo Inês João Júlia Lívia Mateus Natália Otávio Patrícia "
        "Renê Sônia "
        "Thaís Vinícius Zélia",
        "Araújo Barbosa Conceição Damião Esteves Falcão Gouveia Henriques Leitão Magalhães Nogueira Oliveira Paixão "
        "Quaresma Ribeiro Simões Teixeira Valadão Xavier Zagalo",
    ),
    streets=_streets(
        "das Flores, do Comércio, da Estação, São João, do Moinho, das Oliveiras, da Praia, do Sol, Direita, da "
        "Fonte, "
        "dos Navegantes, Nova",
        lambda name: (f"Rua {name}, ", ""),
    ),
    places=(
        Place("São Paulo", "BR", 8, "55"),
        Place("Florianópolis", "BR", 8, "55"),
        Place("Lisboa", "PT", 7, "351"),
        Place("Évora", "PT", 7, "351"),
        Place("Luanda", "AO", 4, "244"),
    ),
    products=_products(
        "Bule, Luminária de mesa, Manta de lã, Caderno, Capa de chuva, Faca de pão, Fogareiro, Relógio de "
        "parede, "
        "Tênis de corrida, Moedor de café, Cadeira de jardim",
        "Norte Rio Âmbar Clássico Brisa Cume Colheita Cotovia Cedro Nova",
        ("“", "”"),
    ),
    downloads=(
        "Curso de panificação",
        "Receitas de tricô",
        "Modelos de contrato",
        "Aulas de violão",
        "Filtros de fotografia",
    ),
    shops=("Armazém da Manhã", "Ateliê Maré", "Feira Boa"),
    notes=(
        "Pode deixar com os vizinhos, por favor.",
        "É presente: sem o preço na nota.",
        "Toque duas vezes, a campainha é baixa.",
        "Entregar depois das seis da tarde.",
        "Segunda tentativa, a primeira encomenda não chegou.",
        "Preciso da fatura em nome da empresa.",
    ),
)

_CHINESE = Language(
    code="zh",
    currency="CNY",
    names=_names(
        "安 伟 芳 敏 静 丽 强 磊 洋 艳 勇 军 杰 娟 涛 明 超 秀英 建国 晓梅",
        "赵 钱 孙 李 周 吴 郑 王 冯 陈 褚 卫 蒋 沈 韩 杨 朱 秦 尤 许",
        family_first=True,
    ),
    streets=_streets(
        "人民路, 中山路, 解放大道, 长江路, 和平街, 学院路, 花园路, 滨海大道, 新华街, 桃源路, 车站路, 青年大街",
        lambda name: (name, "号"),
    ),
    places=(
        Place("上海", "CN", 6, "86"),
        Place("成都", "CN", 6, "86"),
        Place("广州", "CN", 6, "86"),
        Place("哈尔滨", "CN", 6, "86"),
        Place("台北", "TW", 5, "886"),
    ),
    products=_products(
        "茶壶, 台灯, 羊毛毯, 笔记本, 雨衣, 面包刀, 露营炉, 挂钟, 跑鞋, 咖啡研磨机, 花园椅",
        "北方 江河 琥珀 经典 清风 高峰 丰收 云雀 雪松 新星",
        ("「", "」"),
    ),
    downloads=("面包烘焙课程", "编织图样", "合同模板", "吉他课", "摄影滤镜"),
    shops=("静海杂货", "山茶书屋", "晨光市集"),
    notes=(
        "请放在邻居家。",
        "这是礼物,请不要附上价格。",
        "门铃声音小,请按两次。",
        "请在晚上六点以后送货。",
        "第二次下单,第一个包裹没有收到。",
        "需要开公司发票。",
    ),
)

LANGUAGES: tuple[Language, ...] = (_ENGLISH, _RUSSIAN, _SPANISH, _ARABIC, _PORTUGUESE, _CHINESE)
