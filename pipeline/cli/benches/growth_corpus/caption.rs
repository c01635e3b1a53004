//! Captions. In: random numbers. Out: 8 to 60 Chinese characters, now and then with what a crawl leaves in them. Never two that
//! are alike on purpose.

use std::sync::LazyLock;

use crate::random::SplitMix;

/// What captions are made of.
const WORDS: &str = "\
家居 起居室 设计 装修 效果图 书法 作品 国画 山水 风景 高清 壁纸 手机 电脑 桌面 背景 图片 素材 下载 免费 卡通 动漫 人物 头像 女生 男生 \
可爱 猫咪 小狗 宠物 动物 熊猫 老虎 花卉 玫瑰 牡丹 荷花 樱花 树木 森林 草原 沙漠 海边 沙滩 日落 日出 星空 夜景 城市 建筑 桥梁 街道 古镇 寺庙 \
长城 故宫 西湖 黄山 泰山 桂林 丽江 西藏 新疆 云南 四川 北京 上海 广州 深圳 杭州 南京 成都 重庆 武汉 西安 旅游 攻略 酒店 民宿 餐厅 美食 火锅 \
烧烤 蛋糕 面包 咖啡 奶茶 水果 苹果 香蕉 西瓜 草莓 蔬菜 番茄 土豆 牛肉 羊肉 海鲜 龙虾 螃蟹 家常菜 做法 食谱 服装 连衣裙 衬衫 外套 牛仔裤 \
运动鞋 高跟鞋 帽子 围巾 手表 项链 戒指 耳环 钻石 黄金 翡翠 玉石 珍珠 化妆品 口红 面膜 香水 护肤 发型 短发 长发 婚纱 礼服 新娘 婚礼 现场 \
布置 气球 鲜花 礼物 生日 节日 春节 中秋 端午 元宵 灯笼 剪纸 对联 福字 红色 蓝色 绿色 黄色 紫色 白色 黑色 灰色 粉色 金色 银色 复古 简约 现代 \
中式 欧式 北欧 日式 美式 田园 客厅 卧室 厨房 卫生间 阳台 书房 儿童房 沙发 茶几 餐桌 椅子 衣柜 书柜 床头柜 窗帘 地毯 吊灯 台灯 瓷砖 地板 墙纸 \
门窗 楼梯 别墅 公寓 庭院 花园 泳池 汽车 轿车 越野车 跑车 摩托车 自行车 火车 高铁 飞机 轮船 地铁 公交 电动车 手绘 插画 海报 标志 名片 封面 \
模板 矢量 图标 字体 排版 教程 步骤 方法 学生 老师 学校 教室 课本 作业 考试 数学 语文 英语 科学 实验 机器人 编程 芯片 屏幕 键盘 鼠标 耳机 音箱 \
相机 镜头 摄影 人像 写真 儿童 宝宝 孕妇 老人 医生 护士 医院 健康 运动 跑步 瑜伽 篮球 足球 羽毛球 乒乓球 游泳 滑雪 登山 钓鱼 比赛 冠军 明星 \
演员 歌手 电影 电视剧 剧照 音乐 钢琴 吉他 舞蹈 舞台 演唱会 历史 文化 博物馆 文物 青铜器 瓷器 陶瓷 雕塑 油画 水彩 素描 儿童画 简笔画 涂鸦";

/// Fewest characters of a caption.
const MIN_CHARS: u64 = 8;

/// Most of them.
const MAX_CHARS: u64 = 60;

/// What a crawl has behind captions: the picture's size, and file names.
const SIZE_SUFFIXES: [&str; 5] = ["600_600", " 640_464", "800x800", " 750×500.jpg", "1024_683"];

/// A caption as a person wrote it.
pub(crate) fn clean(random: &mut SplitMix) -> String {
    static ALL: LazyLock<Vec<&str>> = LazyLock::new(|| WORDS.split_whitespace().collect());
    let n_chars = MIN_CHARS + random.below(MAX_CHARS - MIN_CHARS + 1);
    let mut caption = String::new();
    let mut rest = n_chars as usize;
    while rest > 0 {
        let word = random.pick(&ALL);
        let taken: String = word.chars().take(rest).collect();
        rest -= taken.chars().count();
        caption.push_str(&taken);
    }
    caption
}

/// A caption as a crawl has it: one of twelve with something to take out, one of two hundred not to be used.
pub(crate) fn crawled(random: &mut SplitMix) -> String {
    let clean = clean(random);
    match random.below(1_000) {
        0..60 => clean + random.pick(&SIZE_SUFFIXES),
        60..70 => format!("&nbsp;<b>{clean}</b>"),
        70..80 => format!("{clean} http://www.pictures.example/{}.html", random.below(1_000_000)),
        80..82 => String::new(),
        82..84 => "图".to_owned(),
        84..85 => clean.repeat(200_usize.div_ceil(MIN_CHARS as usize) + 1),
        _ => clean,
    }
}
