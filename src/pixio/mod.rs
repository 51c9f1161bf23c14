//! The Pixio encoder in libtorch: configuration, checkpoints, the ViT.
