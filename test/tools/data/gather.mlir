func.func @main() -> tensor<2x4xf32> {
  %i = kernel.constant dense<[0, 7]> : tensor<2xi64>
  %w = kernel.constant dense<1.0> : tensor<3x4xf32>
  %y = kernel.gather %w, %i {axis = 0 : i64} : (tensor<3x4xf32>, tensor<2xi64>) -> tensor<2x4xf32>
  func.return %y : tensor<2x4xf32>
}
