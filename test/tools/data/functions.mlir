func.func @window(%x: tensor<1x1x2x2xf32>) -> tensor<1x1x1x1xf32> {
  %y = kernel.pool add %x kernel [2, 2] strides [1, 1] dilations [1, 1] low [0, 0] high [0, 0]
    : tensor<1x1x2x2xf32> -> tensor<1x1x1x1xf32>
  func.return %y : tensor<1x1x1x1xf32>
}
func.func @rows(%x: tensor<2x3xi32>) -> (tensor<2x1xi32>, tensor<2x1xi64>) {
  %m = kernel.reduce max %x axes [1] : tensor<2x3xi32> -> tensor<2x1xi32>
  %i = kernel.arg_reduce max %x {axis = 1 : i64} : tensor<2x3xi32> -> tensor<2x1xi64>
  func.return %m, %i : tensor<2x1xi32>, tensor<2x1xi64>
}
func.func @plain(%i: index) -> index {
  %seven = arith.constant 7 : index
  %s = arith.addi %i, %seven : index
  func.return %s : index
}
