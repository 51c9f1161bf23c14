//! The DPT head (arXiv 2103.13413, as the Pixio paper uses it): four taps at four scales, merged from coarse
//! to fine.

use tch::{TchError, Tensor};

use super::card::N_LEVELS;
use super::error::HeadError;
use super::file::HeadTensors;
use super::resized;
use super::tap::{Tap, TapProjection};

#[derive(Debug)]
pub(super) struct Dpt {
    /// Shallow to deep, which is fine to coarse.
    levels: Vec<DptLevel>,
    fusions: Vec<Fusion>,
    output: [Conv; 2],
}

/// One tap on its way to its scale.
#[derive(Debug)]
struct DptLevel {
    project: TapProjection,
    scale: Scale,
    to_features: Conv,
}

/// How a tap gets its scale: 4, 2, 1 and 1/2 of the patch grid.
#[derive(Debug)]
enum Scale {
    Up(Conv, i64),
    Same,
    Down(Conv),
}

#[derive(Debug)]
struct Conv {
    weight: Tensor,
    bias: Option<Tensor>,
}

/// Two convolutions, each after a ReLU, added to what came in.
#[derive(Debug)]
struct Residual([Conv; 2]);

/// Adds a finer level to what came from the coarser ones.
#[derive(Debug)]
struct Fusion {
    /// The coarsest level has nothing coarser to be added to.
    of_level: Option<Residual>,
    of_sum: Residual,
    out: Conv,
}

impl Dpt {
    /// Reads the head.
    pub(super) fn load(
        parameters: &mut HeadTensors,
        hidden: i64,
        outputs: i64,
        features: i64,
        out_channels: [i64; N_LEVELS],
    ) -> Result<Self, HeadError> {
        let mut levels = Vec::new();
        let mut fusions = Vec::new();
        for (index, channels) in out_channels.into_iter().enumerate() {
            let project = TapProjection::load(parameters, &format!("projects.{index}"), hidden, channels)?;
            let resize = format!("resize_layers.{index}");
            let mut square = |side| Conv::load(parameters, &resize, &[channels, channels, side, side]);
            let scale = match index {
                0 => Scale::Up(square(4)?, 4),
                1 => Scale::Up(square(2)?, 2),
                2 => Scale::Same,
                _ => Scale::Down(square(3)?),
            };
            let name = format!("scratch.layer{}_rn.weight", index + 1);
            let weight = for_convolution(parameters.tensor(&name, &[features, channels, 3, 3])?)?;
            levels.push(DptLevel { project, scale, to_features: Conv { weight, bias: None } });
            fusions.push(Fusion::load(parameters, index, features)?);
        }
        let output = [
            Conv::load(parameters, "scratch.output_conv.0", &[features, features, 3, 3])?,
            Conv::load(parameters, "scratch.output_conv.2", &[outputs, features, 1, 1])?,
        ];
        Ok(Self { levels, fusions, output })
    }

    /// The same head on the same memory.
    pub(super) fn shallow_clone(&self) -> Self {
        Self {
            levels: self.levels.iter().map(DptLevel::shallow_clone).collect(),
            fusions: self.fusions.iter().map(Fusion::shallow_clone).collect(),
            output: self.output.each_ref().map(Conv::shallow_clone),
        }
    }

    /// Tells every parameter with its name.
    pub(super) fn tell(&self, add: &mut impl FnMut(String, &Tensor)) {
        for (index, (level, fusion)) in self.levels.iter().zip(&self.fusions).enumerate() {
            level.project.tell(&format!("projects.{index}"), add);
            if let Scale::Up(conv, _) | Scale::Down(conv) = &level.scale {
                conv.tell(&format!("resize_layers.{index}"), add);
            }
            level.to_features.tell(&format!("scratch.layer{}_rn", index + 1), add);
            let name = format!("scratch.refinenet{}", index + 1);
            let units = [(fusion.of_level.as_ref(), 1), (Some(&fusion.of_sum), 2)];
            for (unit, which) in units.into_iter().filter_map(|(unit, which)| Some((unit?, which))) {
                let [first, second] = &unit.0;
                first.tell(&format!("{name}.resConfUnit{which}.conv1"), add);
                second.tell(&format!("{name}.resConfUnit{which}.conv2"), add);
            }
            fusion.out.tell(&format!("{name}.out_conv"), add);
        }
        let [first, second] = &self.output;
        first.tell("scratch.output_conv.0", add);
        second.tell("scratch.output_conv.2", add);
    }

    /// `[B, n, 8 rows, 8 columns]`; `taps` are shallow to deep.
    pub(super) fn forward(&self, taps: &[Tap]) -> Result<Tensor, TchError> {
        let levels = self.levels.iter().zip(taps).map(|(level, tap)| level.forward(tap));
        let levels = levels.collect::<Result<Vec<_>, _>>()?;
        let mut x: Option<Tensor> = None;
        for (index, (fusion, level)) in self.fusions.iter().zip(&levels).enumerate().rev() {
            let finer = match index {
                0 => levels[0].size()[2..].iter().map(|side| 2 * side).collect(),
                _ => levels[index - 1].size()[2..].to_vec(),
            };
            x = Some(fusion.forward(x.as_ref(), level, [finer[0], finer[1]])?);
        }
        let [first, second] = &self.output;
        let x = first.forward(&x.unwrap_or_default(), 1)?;
        second.forward(&x.f_relu()?, 1)
    }
}

impl DptLevel {
    fn shallow_clone(&self) -> Self {
        let Self { project, scale, to_features } = self;
        let scale = match scale {
            Scale::Up(conv, factor) => Scale::Up(conv.shallow_clone(), *factor),
            Scale::Same => Scale::Same,
            Scale::Down(conv) => Scale::Down(conv.shallow_clone()),
        };
        Self { project: project.shallow_clone(), scale, to_features: to_features.shallow_clone() }
    }

    fn forward(&self, tap: &Tap) -> Result<Tensor, TchError> {
        let x = self.project.forward(tap)?;
        let x = match &self.scale {
            Scale::Up(Conv { weight, bias }, factor) => {
                x.f_conv_transpose2d(weight, bias.as_ref(), [*factor; 2], [0, 0], [0, 0], 1, [1, 1])?
            }
            Scale::Same => x,
            Scale::Down(conv) => conv.forward(&x, 2)?,
        };
        self.to_features.forward(&x, 1)
    }
}

impl Fusion {
    fn shallow_clone(&self) -> Self {
        let Self { of_level, of_sum, out } = self;
        let of_level = of_level.as_ref().map(Residual::shallow_clone);
        Self { of_level, of_sum: of_sum.shallow_clone(), out: out.shallow_clone() }
    }

    fn load(parameters: &mut HeadTensors, index: usize, features: i64) -> Result<Self, HeadError> {
        let name = format!("scratch.refinenet{}", index + 1);
        let mut unit = |which| Residual::load(parameters, &format!("{name}.resConfUnit{which}"), features);
        let of_level = if index + 1 < N_LEVELS { Some(unit(1)?) } else { None };
        let of_sum = unit(2)?;
        let out = Conv::load(parameters, &format!("{name}.out_conv"), &[features, features, 1, 1])?;
        Ok(Self { of_level, of_sum, out })
    }

    /// `coarser` and `level` are of one size; the result is of `finer`.
    fn forward(&self, coarser: Option<&Tensor>, level: &Tensor, finer: [i64; 2]) -> Result<Tensor, TchError> {
        let sum = match (coarser, &self.of_level) {
            (Some(coarser), Some(of_level)) => coarser.f_add(&of_level.forward(level)?)?,
            _ => level.shallow_clone(),
        };
        self.out.forward(&resized(&self.of_sum.forward(&sum)?, finer)?, 1)
    }
}

impl Residual {
    fn shallow_clone(&self) -> Self {
        Self(self.0.each_ref().map(Conv::shallow_clone))
    }

    fn load(parameters: &mut HeadTensors, name: &str, features: i64) -> Result<Self, HeadError> {
        let mut conv =
            |which| Conv::load(parameters, &format!("{name}.conv{which}"), &[features, features, 3, 3]);
        Ok(Self([conv(1)?, conv(2)?]))
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let [first, second] = &self.0;
        second.forward(&first.forward(&x.f_relu()?, 1)?.f_relu_()?, 1)?.f_add(x)
    }
}

impl Conv {
    fn shallow_clone(&self) -> Self {
        let bias = self.bias.as_ref().map(Tensor::shallow_clone);
        Self { weight: self.weight.shallow_clone(), bias }
    }

    /// Reads weight and bias; the bias is as long as a transposed or plain convolution of equal channels, or
    /// an output layer, has outputs.
    fn load(parameters: &mut HeadTensors, name: &str, shape: &[i64; 4]) -> Result<Self, HeadError> {
        let weight = for_convolution(parameters.tensor(&format!("{name}.weight"), shape)?)?;
        let bias = parameters.tensor(&format!("{name}.bias"), &shape[..1])?;
        Ok(Self { weight, bias: Some(bias) })
    }

    fn tell(&self, name: &str, add: &mut impl FnMut(String, &Tensor)) {
        add(format!("{name}.weight"), &self.weight);
        if let Some(bias) = &self.bias {
            add(format!("{name}.bias"), bias);
        }
    }

    /// Padded so that a stride of one keeps the size.
    fn forward(&self, x: &Tensor, stride: i64) -> Result<Tensor, TchError> {
        let padding = self.weight.size()[2] / 2;
        x.f_conv2d(&self.weight, self.bias.as_ref(), [stride; 2], [padding; 2], [1, 1], 1)
    }
}

/// The weight `[n, m, rows, columns]` as it lies best in memory: on a GPU with the second axis innermost, as
/// its convolutions read it, which would else bring it there in every run.
fn for_convolution(weight: Tensor) -> Result<Tensor, TchError> {
    if !weight.device().is_cuda() {
        return Ok(weight);
    }
    weight.f_permute([0, 2, 3, 1])?.f_contiguous()?.f_permute([0, 3, 1, 2])
}
