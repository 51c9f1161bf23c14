// Prints the stamp, the shape and a cosine of every PatchFeatures message:
//   ros2 run subscribe_features_cpp subscribe_features --ros-args -r features:=/pixio_node/features

#include <exception>
#include <memory>

#include "pixio_node/msg/patch_features.hpp"
#include "rclcpp/rclcpp.hpp"
#include "subscribe_features_cpp/patch_grid.hpp"

using pixio_node::msg::PatchFeatures;
using subscribe_features_cpp::PatchGrid;

class FeatureListener : public rclcpp::Node
{
public:
  FeatureListener()
  : Node("subscribe_features")
  {
    // Best effort has the lowest latency; a reliable subscription gets lost parts sent again.
    subscription_ = create_subscription<PatchFeatures>(
      "features", rclcpp::SensorDataQoS(), [this](const PatchFeatures & message) {on_features(message);});
  }

private:
  void on_features(const PatchFeatures & message)
  {
    try {
      const PatchGrid grid(message);
      if (grid.rows * grid.columns == 0) {
        return;
      }
      const float likeness = grid.cosine(grid.token(grid.rows / 2, grid.columns / 2), grid.token(0, 0));
      RCLCPP_INFO(
        get_logger(), "%d.%09u  %zux%zu patches of %zu %s, cosine of middle and corner %.3f",
        message.header.stamp.sec, message.header.stamp.nanosec, grid.rows, grid.columns, grid.channels,
        message.dtype.c_str(), likeness);
    } catch (const std::exception & err) {
      RCLCPP_WARN_THROTTLE(get_logger(), *get_clock(), 5000, "not a map of patch tokens: %s", err.what());
    }
  }

  rclcpp::Subscription<PatchFeatures>::SharedPtr subscription_;
};

int main(int argc, char ** argv)
{
  rclcpp::init(argc, argv);
  rclcpp::spin(std::make_shared<FeatureListener>());
  rclcpp::shutdown();
  return 0;
}
