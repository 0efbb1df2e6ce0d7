mod cloud;
mod machine;
mod wire;
