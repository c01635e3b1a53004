//! What is in a picture, and the caption that says it. In: random numbers. Out: a [`Scene`]: one thing at a place, or two
//! things and how they stand to each other. Never a pixel.

use crate::random::Random;

/// A colour with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour {
    /// What a caption calls it.
    pub name: &'static str,
    /// Its paint, red, green, blue.
    pub rgb: [u8; 3],
}

/// The colours of things: far apart from each other and from the backgrounds, which are greyish and of middle lightness.
pub const COLOURS: [Colour; 7] = [
    Colour { name: "红色", rgb: [222, 32, 38] },
    Colour { name: "黄色", rgb: [246, 214, 24] },
    Colour { name: "绿色", rgb: [22, 158, 52] },
    Colour { name: "蓝色", rgb: [28, 72, 226] },
    Colour { name: "紫色", rgb: [156, 36, 190] },
    Colour { name: "黑色", rgb: [16, 16, 16] },
    Colour { name: "白色", rgb: [248, 248, 248] },
];

/// Paints of things in grey pictures, where a caption names no colour: far from the background's lightness.
const GREYS: [[u8; 3]; 2] = [[44; 3], [222; 3]];

/// The shapes of things, all clearly different at 16 pixels across.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// 圆形
    Circle,
    /// 方形
    Square,
    /// 三角形, point up
    Triangle,
    /// 星形, five points
    Star,
    /// 十字形
    Cross,
    /// 圆环
    Ring,
}

/// All shapes.
pub const SHAPES: [Shape; 6] =
    [Shape::Circle, Shape::Square, Shape::Triangle, Shape::Star, Shape::Cross, Shape::Ring];

impl Shape {
    /// What a caption calls it.
    pub fn name(self) -> &'static str {
        match self {
            Shape::Circle => "圆形",
            Shape::Square => "方形",
            Shape::Triangle => "三角形",
            Shape::Star => "星形",
            Shape::Cross => "十字形",
            Shape::Ring => "圆环",
        }
    }
}

/// A named place: its centre as fractions of width and height.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// What a caption calls it.
    pub name: &'static str,
    /// Centre, fraction of the width from the left.
    pub x: f32,
    /// Centre, fraction of the height from the top.
    pub y: f32,
}

/// The nine places of a picture.
pub const PLACES: [Place; 9] = [
    Place { name: "左上", x: 0.23, y: 0.23 },
    Place { name: "上方", x: 0.50, y: 0.23 },
    Place { name: "右上", x: 0.77, y: 0.23 },
    Place { name: "左边", x: 0.23, y: 0.50 },
    Place { name: "中间", x: 0.50, y: 0.50 },
    Place { name: "右边", x: 0.77, y: 0.50 },
    Place { name: "左下", x: 0.23, y: 0.77 },
    Place { name: "下方", x: 0.50, y: 0.77 },
    Place { name: "右下", x: 0.77, y: 0.77 },
];

/// How the first of two things stands to the second: the name, and the direction to the first as (x, y).
pub const RELATIONS: [(&str, f32, f32); 4] =
    [("左边", -1.0, 0.0), ("右边", 1.0, 0.0), ("上面", 0.0, -1.0), ("下面", 0.0, 1.0)];

/// One thing in a picture.
#[derive(Clone, Debug)]
pub struct Thing {
    /// Its shape.
    pub shape: Shape,
    /// Its colour's name; none in a grey picture.
    pub colour: Option<&'static str>,
    /// Its paint at its left edge.
    pub rgb: [u8; 3],
    /// Levels of 255 that the paint gains up to the right edge, negative for light paints: an even
    /// area would leave a difference hash to chance.
    pub shade: f32,
    /// Centre, fraction of the width.
    pub x: f32,
    /// Centre, fraction of the height.
    pub y: f32,
    /// Half its extent, fraction of the picture's shorter side.
    pub radius: f32,
}

/// Everything that decides a picture's pixels and its caption.
#[derive(Clone, Debug)]
pub struct Scene {
    /// Width in pixels.
    pub width_px: u32,
    /// Height in pixels.
    pub height_px: u32,
    /// One thing, or two.
    pub things: Vec<Thing>,
    /// Where the one thing is, or how the first stands to the second.
    pub position: &'static str,
    /// Seed of the background.
    pub background: u64,
}

/// What kind of scenes are wanted.
#[derive(Clone, Copy, Debug)]
pub struct SceneOptions {
    /// Shortest side in pixels.
    pub min_px: u32,
    /// Longest side in pixels.
    pub max_px: u32,
    /// Two things and their relation instead of one thing and its place.
    pub two_objects: bool,
}

impl Scene {
    /// The next scene out of `random`; a grey one has things without a colour.
    pub fn new(random: &mut Random, options: &SceneOptions, grey: bool) -> Scene {
        let (width_px, height_px) = size(random, options);
        let (things, position) =
            if options.two_objects { two_things(random, grey) } else { one_thing(random, grey) };
        Scene { width_px, height_px, things, position, background: random.next_u64() }
    }

    /// What the caption of this picture says.
    pub fn caption(&self) -> String {
        match self.things.as_slice() {
            [first, second] => format!("{}在{}的{}", first.name(), second.name(), self.position),
            things => format!("{}有一个{}", self.position, things[0].name()),
        }
    }

    /// The same said in another way, for one picture with two honest captions.
    pub fn other_caption(&self) -> String {
        match self.things.as_slice() {
            [first, second] => format!("{}的{}是{}", second.name(), self.position, first.name()),
            things => format!("{}在{}", things[0].name(), self.position),
        }
    }
}

impl Thing {
    /// Colour and shape as a caption says them: 红色的圆形, or 圆形 in a grey picture.
    fn name(&self) -> String {
        match self.colour {
            Some(colour) => format!("{colour}的{}", self.shape.name()),
            None => self.shape.name().to_string(),
        }
    }
}

/// Sides within the limits, at most 6:5 either way, so that a square thumbnail does not deform a shape past knowing.
fn size(random: &mut Random, options: &SceneOptions) -> (u32, u32) {
    let span = (options.max_px - options.min_px + 1) as usize;
    let width = options.min_px + random.below(span) as u32;
    let height = (width as f32 * random.between(0.84, 1.2)) as u32;
    (width, height.clamp(options.min_px, options.max_px))
}

fn one_thing(random: &mut Random, grey: bool) -> (Vec<Thing>, &'static str) {
    let place = *random.pick(&PLACES);
    let shape = *random.pick(&SHAPES);
    let x = place.x + random.between(-0.025, 0.025);
    let y = place.y + random.between(-0.025, 0.025);
    let radius = random.between(0.165, 0.205);
    (vec![paint(random, grey, shape, None, x, y, radius)], place.name)
}

fn two_things(random: &mut Random, grey: bool) -> (Vec<Thing>, &'static str) {
    let (position, dx, dy) = *random.pick(&RELATIONS);
    let first_shape = *random.pick(&SHAPES);
    let others: Vec<Shape> = SHAPES.into_iter().filter(|shape| *shape != first_shape).collect();
    let second_shape = *random.pick(&others);
    // Across the relation both things wander together, so that only their order tells.
    let (wander_x, wander_y) =
        (random.between(-0.2, 0.2) * dy.abs(), random.between(-0.2, 0.2) * dx.abs());
    let mut thing = |shape, side: f32, not: Option<&'static str>| {
        let x = 0.5 + wander_x + side * dx * random.between(0.23, 0.27);
        let y = 0.5 + wander_y + side * dy * random.between(0.23, 0.27);
        let radius = random.between(0.155, 0.195);
        paint(random, grey, shape, not, x, y, radius)
    };
    let first = thing(first_shape, 1.0, None);
    let second = thing(second_shape, -1.0, first.colour);
    (vec![first, second], position)
}

/// A thing in a random colour other than `not`; the paint varies a little around the colour's own.
fn paint(
    random: &mut Random,
    grey: bool,
    shape: Shape,
    not: Option<&'static str>,
    x: f32,
    y: f32,
    radius: f32,
) -> Thing {
    let colours: Vec<Colour> =
        COLOURS.into_iter().filter(|colour| Some(colour.name) != not).collect();
    let colour = *random.pick(&colours);
    let base = if grey { *random.pick(&GREYS) } else { colour.rgb };
    let shift = random.between(-12.0, 12.0);
    let rgb = base.map(|level| {
        let own = if grey { 0.0 } else { random.between(-6.0, 6.0) };
        (f32::from(level) + shift + own).clamp(0.0, 255.0) as u8
    });
    let light = rgb.iter().map(|level| u32::from(*level)).sum::<u32>() > 3 * 128;
    let shade = random.between(18.0, 30.0) * if light { -1.0 } else { 1.0 };
    Thing { shape, colour: (!grey).then_some(colour.name), rgb, shade, x, y, radius }
}
