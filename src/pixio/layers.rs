//! Layer norm and the transformer block.

use tch::Tensor;

use super::config::PixioConfig;
use super::error::ModelError;
use super::linear::Linear;
use super::weights::{BlockPart, Loader, Part, TensorRole};

/// Layer norm over the last axis.
#[derive(Debug)]
pub(super) struct Norm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f64,
}

impl Norm {
    /// Reads weight and bias; `part` names the norm.
    pub(super) fn load(
        config: &PixioConfig,
        loader: &mut Loader<'_>,
        part: fn(TensorRole) -> Part,
    ) -> Result<Self, ModelError> {
        let hidden = [config.hidden_size as i64];
        let weight = loader.tensor(part(TensorRole::Weight), &hidden)?;
        let bias = loader.tensor(part(TensorRole::Bias), &hidden)?;
        Ok(Self { weight, bias, epsilon: config.layer_norm_eps })
    }

    /// The same norm on the same memory.
    pub(super) fn shallow_clone(&self) -> Self {
        Self { weight: self.weight.shallow_clone(), bias: self.bias.shallow_clone(), epsilon: self.epsilon }
    }

    /// Weight and bias, `[D]` each, by their names behind `name`.
    pub(super) fn constants(&self, name: &str) -> [(String, Tensor); 2] {
        let [weight, bias] = [&self.weight, &self.bias].map(Tensor::shallow_clone);
        [(format!("{name}.weight"), weight), (format!("{name}.bias"), bias)]
    }

    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        let (weight, bias) = (Some(&self.weight), Some(&self.bias));
        Ok(x.f_layer_norm(self.weight.size(), weight, bias, self.epsilon, true)?)
    }

    /// Whether it is as before any training: scale one, shift zero.
    pub(super) fn is_untrained(&self) -> Result<bool, ModelError> {
        let all = |tensor: Tensor| tensor.f_all()?.f_int64_value(&[]);
        Ok(all(self.weight.f_eq(1.0)?)? == 1 && all(self.bias.f_eq(0.0)?)? == 1)
    }
}

/// One transformer block: attention and MLP, each after a norm and added to what came in.
#[derive(Debug)]
pub(super) struct Block {
    norm1: Norm,
    qkv: Linear,
    projection: Linear,
    norm2: Norm,
    fc1: Linear,
    fc2: Linear,
    n_heads: i64,
}

impl Block {
    /// Reads the block of this index (from 0).
    pub(super) fn load(
        config: &PixioConfig,
        loader: &mut Loader<'_>,
        index: usize,
    ) -> Result<Self, ModelError> {
        let (hidden, mlp) = (config.hidden_size as i64, config.mlp_hidden() as i64);
        let mut linear = |layer, inputs: i64, outputs: i64, biased: bool| -> Result<Linear, ModelError> {
            let weight = loader.tensor(Part::Block(index, layer, TensorRole::Weight), &[outputs, inputs])?;
            let bias = biased.then(|| loader.tensor(Part::Block(index, layer, TensorRole::Bias), &[outputs]));
            Ok(Linear::new(weight, bias.transpose()?, loader.product))
        };
        let qkv = linear(BlockPart::Qkv, hidden, 3 * hidden, config.qkv_bias)?;
        let projection = linear(BlockPart::Projection, hidden, hidden, true)?;
        let fc1 = linear(BlockPart::Fc1, hidden, mlp, true)?;
        let fc2 = linear(BlockPart::Fc2, mlp, hidden, true)?;
        let mut norm = |layer| {
            let mut of = |role| loader.tensor(Part::Block(index, layer, role), &[hidden]);
            let (weight, bias) = (of(TensorRole::Weight)?, of(TensorRole::Bias)?);
            Ok::<_, ModelError>(Norm { weight, bias, epsilon: config.layer_norm_eps })
        };
        let (norm1, norm2) = (norm(BlockPart::Norm1)?, norm(BlockPart::Norm2)?);
        Ok(Self { norm1, qkv, projection, norm2, fc1, fc2, n_heads: config.num_attention_heads as i64 })
    }

    /// The same block on the same memory.
    pub(super) fn shallow_clone(&self) -> Self {
        let Self { norm1, qkv, projection, norm2, fc1, fc2, n_heads } = self;
        let [qkv, projection, fc1, fc2] = [qkv, projection, fc1, fc2].map(Linear::shallow_clone);
        let [norm1, norm2] = [norm1, norm2].map(Norm::shallow_clone);
        Self { norm1, qkv, projection, norm2, fc1, fc2, n_heads: *n_heads }
    }

    /// All parameters by their names behind `name`.
    pub(super) fn constants(&self, name: &str) -> Vec<(String, Tensor)> {
        let mut constants = Vec::new();
        for (norm, part) in [(&self.norm1, "norm1"), (&self.norm2, "norm2")] {
            constants.extend(norm.constants(&format!("{name}.{part}")));
        }
        let Self { qkv, projection, fc1, fc2, .. } = self;
        for (linear, part) in [(qkv, "qkv"), (projection, "projection"), (fc1, "fc1"), (fc2, "fc2")] {
            constants.extend(linear.constants(&format!("{name}.{part}")));
        }
        constants
    }

    /// `[B, N, D]` to `[B, N, D]`; `x` is left as it is.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        // Added into the fresh tensor: `x` may be a hidden state that the caller asked for.
        let mut attended = self.attention(&self.norm1.forward(x)?)?;
        let x = attended.f_add_(x)?;
        let mut hidden = self.fc1.forward(&self.norm2.forward(&x)?)?;
        let mut out = self.fc2.forward(&hidden.f_gelu_("none")?)?;
        Ok(out.f_add_(&x)?)
    }

    fn attention(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        let (batch, n_tokens, hidden) = x.size3()?;
        let split = [batch, n_tokens, 3, self.n_heads, hidden / self.n_heads];
        let qkv = self.qkv.forward(x)?.f_view(split)?.f_permute([2, 0, 3, 1, 4])?;
        let [q, k, v] = [0, 1, 2].map(|index| qkv.f_select(0, index));
        let attended =
            Tensor::f_scaled_dot_product_attention::<Tensor>(&q?, &k?, &v?, None, 0.0, false, None, false)?;
        let joined = attended.f_transpose(1, 2)?.f_reshape([batch, n_tokens, hidden])?;
        self.projection.forward(&joined)
    }
}
